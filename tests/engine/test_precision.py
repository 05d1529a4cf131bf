"""`train.amp` in evaluation and behind Detectron2's predictor: where autocast is on, and that results stay float32."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from detectron2.config import instantiate
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.engine.evaluation_loop import run_evaluation
from focalnet_d2.engine.precision import autocast, inference_precision, predict_in
from focalnet_d2.kernels import cpu_matmul
from focalnet_d2.kernels.cpu_matmul import Choice
from tests.kernels.test_cpu_matmul import precision

CPU = torch.device("cpu")
DETECTORS = (  # a recipe of each
    "atss_focalnet_mini_coco",
    "cascade_mask_rcnn_focalnet_mini_coco",
    "classifier_focalnet_mini_folder",
    "dino_focalnet_mini_demo",
    "mask2former_focalnet_mini_demo",
    "mask_rcnn_focalnet_mini_coco",
    "sparse_rcnn_focalnet_mini_coco",
    "upernet_focalnet_mini_ade20k",
)


class Watching(nn.Linear):
    """Notes in which type its product is, and on which route float32 products are."""

    def __init__(self):
        super().__init__(2, 2)
        self.seen = []

    def forward(self, batch: list[Tensor]) -> list[Tensor]:
        self.seen.append((super().forward(batch[0]).dtype, precision()))
        return batch


@pytest.fixture
def onednn(monkeypatch):
    """A machine whose probe has chosen oneDNN."""
    monkeypatch.setattr(cpu_matmul, "choice", lambda: Choice(True, "for the test"))


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize(("amp", "dtype"), [("off", torch.float32), ("auto", torch.float32), ("bf16", torch.bfloat16)])
def test_model_that_predicts_in_bf16_does_so_in_calls_that_end_and_in_calls_that_raise(amp, dtype):
    before = precision()
    model = predict_in(Watching(), amp)
    model([torch.ones(1, 2)])
    with pytest.raises(RuntimeError):
        model([torch.ones(1, 3)])
    ((seen, route),) = model.seen
    assert seen is dtype
    assert route != before
    assert precision() == before
    assert not torch.is_autocast_enabled("cpu")
    assert set(model.state_dict()) == {"weight", "bias"}


class Scoring(DatasetEvaluator):
    """Multiplies what it is given, as an evaluator may."""

    def process(self, inputs, outputs):
        assert (outputs[0] @ outputs[0].T).dtype is torch.float32

    def evaluate(self):
        return {"bbox": {"AP": 1.0}}


@pytest.mark.parametrize(("amp", "dtype"), [("off", torch.float32), ("bf16", torch.bfloat16)])
def test_evaluation_runs_the_model_in_bf16_and_the_evaluator_outside(amp, dtype):
    model = Watching()
    run_evaluation(model, [[torch.ones(1, 2)]] * 2, Scoring(), amp=amp)
    assert [seen for seen, _ in model.seen] == [dtype, dtype]


def test_full_precision_leaves_an_autocast_around_it_alone():
    with torch.autocast("cpu", torch.bfloat16), autocast(CPU, None):
        assert torch.is_autocast_enabled("cpu")


def make_batch() -> list[dict]:
    """Two images with two objects each, and all that any of the models learns from."""
    height, width, batch = 64, 96, []
    for class_id in (0, 1):
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(torch.tensor([[8.0, 8.0, 40.0, 48.0], [20.0, 10.0, 60.0, 60.0]]))
        instances.gt_classes = torch.tensor([1, 0])
        masks = torch.zeros(2, height, width, dtype=torch.bool)
        masks[0, 8:48, 8:40], masks[1, 10:60, 20:60] = True, True
        instances.gt_masks = BitMasks(masks)
        image, classes = torch.randint(256, (3, height, width), dtype=torch.uint8), torch.randint(2, (height, width))
        batch.append({"image": image, "instances": instances, "sem_seg": classes, "class_id": class_id})
    return batch


def float_tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor of numbers in nested results."""
    if isinstance(value, Tensor):
        yield from [value] if value.is_floating_point() else []
    elif isinstance(value, Instances):
        yield from float_tensors(value.get_fields())
    elif isinstance(value, Boxes):
        yield value.tensor
    elif isinstance(value, Mapping):
        yield from float_tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from float_tensors(part)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_model_trains_in_bf16_and_predicts_float32_results(name):
    model, batch = instantiate(load_recipe(name).model).train(), make_batch()
    with EventStorage(), autocast(CPU, torch.bfloat16):
        losses = model(batch)
    sum(losses.values()).backward()
    assert all(loss.isfinite() and loss.dtype is torch.float32 for loss in losses.values())
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert grads
    assert all(grad.isfinite().all() and grad.dtype is torch.float32 for grad in grads)
    with torch.no_grad(), inference_precision(CPU, "bf16"):
        found = list(float_tensors(model.eval()(batch)))
    assert found
    assert all(tensor.dtype is torch.float32 for tensor in found)

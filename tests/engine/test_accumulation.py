"""The gradient of a batch that goes through in parts is that of the whole batch, for every model.

Fixed here, because a model draws it for a batch at a time: denoising noise, points of masks, sampled anchors and
regions. Batch norm keeps its statistics, which would be those of a part.
"""

import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from torch import nn

from dino.denoising import NoiseSamples
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.engine.accumulation import Accumulation, EqualWeights, ModelTotals
from focalnet_d2.modeling.base import ImageModel
from focalnet_d2.modeling.classifier.model import ImageClassifier
from focalnet_d2.utils.step_totals import StepTotals, largest, share, total
from tests.dino.building import tiny_dino, tiny_stable_dino
from tests.mask2former.building import build_mask2former
from tests.modeling.rcnn.building import tiny_rcnn
from tests.modeling.small_detectors import TINY_BACKBONE, tiny_atss, tiny_sparse_rcnn
from tests.modeling.upernet.building import build_upernet

SIZES, OBJECTS = [(64, 96), (96, 64), (72, 56), (64, 64)], (0, 3, 1, 5)
CPU = torch.device("cpu")


def same_points(count, num_points, like):
    """(count, points, 2), the same for each row, whichever rows come together."""
    draws = torch.Generator().manual_seed(num_points)
    return torch.rand(num_points, 2, generator=draws).to(like).expand(count, -1, -1)


def tiny_classifier(seed=0):
    torch.manual_seed(seed)
    return ImageClassifier(FocalNet(**TINY_BACKBONE, out_features=("res5",)), num_classes=5)


MODELS = {
    "dino": tiny_dino,
    "dino with many groups": lambda: tiny_dino(denoising={"dn_number": 60}),
    "dino without denoising": lambda: tiny_dino(denoising={"dn_number": 0}),
    "stable_dino": tiny_stable_dino,
    "sparse_rcnn": tiny_sparse_rcnn,
    "mask2former": lambda: build_mask2former(criterion={"draw_points": same_points}),
    "mask2former with fewer queries than objects": lambda: build_mask2former(
        num_queries=4, criterion={"draw_points": same_points}
    ),
    "atss": tiny_atss,
    "mask_rcnn": tiny_rcnn,
    "cascade_mask_rcnn": lambda: tiny_rcnn("cascade_mask_rcnn"),
    "upernet": lambda: build_upernet(5),
    "classifier": tiny_classifier,
}


def make_sample(seed: int, size: tuple[int, int], objects: int) -> dict:
    draws = torch.Generator().manual_seed(seed)
    height, width = size
    corners = torch.rand(objects, 2, generator=draws) * 0.5
    sides = 0.2 + 0.3 * torch.rand(objects, 2, generator=draws)
    boxes = torch.cat([corners, corners + sides], dim=-1) * torch.tensor([width, height] * 2)
    masks = torch.zeros(objects, height, width, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.round().int().tolist()):
        mask[top:bottom, left:right] = True
    classes = torch.randint(5, (objects,), generator=draws)
    sem_seg = torch.full(size, 255)
    for mask, class_id in zip(masks, classes):
        sem_seg[mask] = class_id
    instances = Instances(size, gt_boxes=Boxes(boxes), gt_masks=BitMasks(masks), gt_classes=classes)
    image = torch.randint(256, (3, *size), generator=draws, dtype=torch.uint8)
    return {"image": image, "instances": instances, "sem_seg": sem_seg, "class_id": seed % 5}


def make_batch(name: str) -> list[dict]:
    sizes = [(64, 64)] * 4 if name == "classifier" else SIZES
    return [make_sample(number, size, objects) for number, (size, objects) in enumerate(zip(sizes, OBJECTS))]


class NoiseOfTheBatch:
    """Denoising noise of all images of a step, given out for the objects of one part after the other."""

    def __init__(self, num_classes: int):
        self.num_classes, self.given = num_classes, 0

    def __call__(self, groups: int, num_targets: int, device: torch.device) -> NoiseSamples:
        draws = torch.Generator().manual_seed(0)
        every = sum(OBJECTS)
        chance, share_of_side = (torch.rand(2 * groups, every, n, generator=draws) for n in (1, 4))
        sign = torch.randint(2, (2 * groups, every, 4), generator=draws) * 2.0 - 1.0
        labels = torch.randint(self.num_classes, (2 * groups, every), generator=draws)
        mine = slice(self.given, self.given + num_targets)
        self.given += num_targets
        return NoiseSamples(
            label_chance=chance[:, mine].flatten(),
            new_labels=labels[:, mine].flatten(),
            box_sign=sign[:, mine].flatten(0, 1),
            box_share=share_of_side[:, mine].flatten(0, 1),
        )


def fix_what_it_draws(model: ImageModel, monkeypatch) -> ImageModel:
    monkeypatch.setattr(torch, "randperm", lambda count, **kwargs: torch.arange(count, **kwargs))
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.Dropout | nn.Dropout2d):
            module.eval()
    return model


def step(model: ImageModel, batch: list[dict], parts: int, **options) -> tuple[dict[str, float], torch.Tensor]:
    """Losses by name, summed over the parts, and the gradients of all weights in one vector."""
    model.zero_grad()
    if hasattr(model, "denoising"):
        model.denoising.draw = NoiseOfTheBatch(model.num_classes)
    summed: dict[str, float] = {}
    accumulation = Accumulation(model, parts=parts, device=CPU, amp_dtype=None, **{"weights": ModelTotals(), **options})
    with accumulation.step(batch) as pieces:
        for part, weight in pieces:
            losses = {name: weight * loss for name, loss in model(part).items()}
            sum(losses.values()).backward()
            summed = {name: summed.get(name, 0.0) + loss.item() for name, loss in losses.items()}
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return summed, torch.cat([grad.flatten().double() for grad in grads])


@pytest.mark.parametrize("name", MODELS)
def test_parts_have_the_losses_and_gradients_of_the_whole_batch(name, monkeypatch):
    model = fix_what_it_draws(MODELS[name](), monkeypatch)
    if "rcnn" not in name or name == "sparse_rcnn":
        model = model.double()
    batch = make_batch(name)
    losses, gradient = step(model, batch, 1)
    assert gradient.norm() > 0
    for parts in (2,) if name == "upernet" else (2, 4):
        found, of_parts = step(model, batch, parts)
        assert found == pytest.approx(losses, rel=1e-5, abs=1e-9)
        assert (of_parts - gradient).norm() <= 1e-5 * gradient.norm()


def test_a_whole_batch_is_not_looked_at_twice(monkeypatch):
    model = fix_what_it_draws(tiny_dino(), monkeypatch)
    monkeypatch.setattr(model, "note_totals", lambda *_: pytest.fail("noted"))
    with Accumulation(model, parts=1, weights=ModelTotals(), device=CPU, amp_dtype=None).step(
        make_batch("dino")
    ) as pieces:
        ((part, weight),) = pieces
        assert (len(part), weight) == (4, 1.0)


class Watched(StepTotals):
    """Sums up what the parts ask for while they go through the model."""

    def __init__(self):
        super().__init__()
        self.met = {}

    def _total(self, key, value):
        if self._noted is None:
            self.met[key] = self.met.get(key, 0) + value
        return super()._total(key, value)


@pytest.mark.parametrize("name", ["mask_rcnn", "cascade_mask_rcnn", "mask2former", "atss"])
def test_what_is_noted_is_what_the_parts_have(name, monkeypatch):
    """Also where the numbers come from random draws."""
    watched = Watched()
    monkeypatch.setattr("focalnet_d2.engine.accumulation.StepTotals", lambda: watched)
    step(MODELS[name]().train(), make_batch(name), 2)
    assert watched.met
    assert {key: float(value) for key, value in watched.totals.items()} == pytest.approx(
        {key: float(value) for key, value in watched.met.items()}, rel=1e-6
    )


def test_noting_leaves_no_trace():
    model = MODELS["cascade_mask_rcnn"]().train()
    before = [buffer.clone() for buffer in model.buffers()]
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with Accumulation(model, parts=2, weights=ModelTotals(), device=CPU, amp_dtype=None).step(make_batch("rcnn")):
        assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(buffer, other) for buffer, other in zip(model.buffers(), before))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["dino", "mask2former", "atss", "mask_rcnn"])
def test_parts_that_know_nothing_of_each_other_have_another_gradient(name, monkeypatch):
    model = fix_what_it_draws(MODELS[name](), monkeypatch)
    _, gradient = step(model, make_batch(name), 1)
    _, of_parts = step(model, make_batch(name), 2, weights=EqualWeights())
    assert (of_parts - gradient).norm() > 1e-2 * gradient.norm()


def test_totals_are_sums_and_maxima_of_the_parts():
    totals = StepTotals()
    for objects, side in ((2, 30), (0, 50), (5, 40)):
        with totals.noting_part():
            assert (total("objects", objects), share("objects", objects)) == (objects, 1.0)
            largest("side", side)
    with totals.in_force():
        assert (total("objects", 2), share("objects", 2), largest("side", 30)) == (7, 2 / 7, 50)
        with pytest.raises(RuntimeError, match="'regions', which `note_divisors`"):
            total("regions", 1)
    assert (total("objects", 2), share("objects", 2), largest("side", 30)) == (2, 1.0, 30)


def test_an_empty_step_has_whole_shares():
    totals = StepTotals()
    with totals.noting_part():
        total("masks", 0)
    with totals.in_force():
        assert share("masks", 0) == 1.0


def test_bad_input_is_refused_as_without_parts():
    batch = make_batch("dino")
    batch[1]["image"] = batch[1]["image"][0]
    with pytest.raises(ValueError, match="A model takes dicts with a tensor `image`"):
        step(tiny_dino().train(), batch, 2)

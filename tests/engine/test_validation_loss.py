"""The losses on the test data: what they are, and that nothing in the training knows of them."""

import json
from pathlib import Path

import pytest
import torch
from detectron2.utils import comm
from torch import nn
from torchvision.ops import StochasticDepth

import train_net
from focalnet_d2.config.lazy import RecipeError, load_recipe
from focalnet_d2.data.mappers import SemanticSegMapper
from focalnet_d2.data.shared_memory_dataset import SharedMemoryDataset
from focalnet_d2.engine.distributed import launch
from focalnet_d2.engine.own_data import apply_settings
from focalnet_d2.engine.preflight import read_data
from focalnet_d2.engine.run import build_model
from focalnet_d2.engine.validation_loss import ValidationLoss, build_mapper, losses_mode
from focalnet_d2.modeling.upernet.model import takes_statistics
from tests.own_data_folders import write_boxes, write_classes, write_masks, write_panoptic, write_semantic
from tests.registered_sets import (
    forgotten_afterwards,
    registered,  # noqa: F401  autouse
)
from tests.test_own_data_runs import DINO, LOADERS, TINY_BACKBONE, TINY_OF

MASK2FORMER, UPERNET = "mask2former_focalnet_mini_quickstart", "upernet_focalnet_mini_ade20k"
CLASSIFIER, RCNN = "classifier_focalnet_mini_folder", "mask_rcnn_focalnet_mini_coco"
TINY_RCNN = (
    *(setting.replace("model.backbone.", "model.backbone.bottom_up.") for setting in TINY_BACKBONE),
    "dataloader.train.mapper.augmentations.0.short_edge_length=64",
    "dataloader.test.mapper.augmentations.0.short_edge_length=64",
)
SETTINGS = {**TINY_OF, RCNN: TINY_RCNN}
RUN = (
    *("train.device=cpu", "train.max_iter=3", "train.eval_period=1", "train.checkpoint_period=1", "train.log_period=1"),
    *("train.amp=off", "train.keep_checkpoints=0", "train.report=False"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    return {
        DINO: write_boxes(root / "boxes"),
        RCNN: write_masks(root / "masks"),
        MASK2FORMER: write_panoptic(root / "panoptic"),
        UPERNET: write_semantic(root / "semantic"),
        CLASSIFIER: write_classes(root / "classes"),
    }


def run(name: str, data: dict[str, Path], folder: Path, *settings: str) -> None:
    command = ["--config-file", name, f"data={data[name]}", *SETTINGS[name], *LOADERS, *RUN]
    train_net.main([*command, f"train.output_dir={folder}", *settings])


def state_of(folder: Path, name: str = "model_final.pth") -> dict:
    content = torch.load(folder / name, weights_only=True)
    return {key: content[key] for key in ("model", "optimizer", "rng")}


def assert_same(one, other) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other):
            assert_same(*pair)
    else:
        assert one == other


def losses_on_test_data(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    found = [{name: value for name, value in line.items() if name.startswith("validation/")} for line in lines]
    return [one for one in found if one]


@pytest.mark.slow
@pytest.mark.parametrize("name", [DINO, MASK2FORMER, RCNN])
def test_a_run_is_bit_for_bit_that_without_it_also_when_it_is_resumed(name, data, tmp_path):
    with_it = ("train.validation_loss=True", "train.best_metric=validation/total_loss")
    run(name, data, tmp_path / "without")
    run(name, data, tmp_path / "with", *with_it)
    assert_same(state_of(tmp_path / "without"), state_of(tmp_path / "with"))
    run(name, data, tmp_path / "parts", "train.max_iter=2", *with_it, "lr_multiplier.values=[1,1]")
    run(name, data, tmp_path / "whole", "lr_multiplier.values=[1,1]")
    run(name, data, tmp_path / "parts", "--resume", "train.max_iter=3")
    assert_same(state_of(tmp_path / "whole"), state_of(tmp_path / "parts"))
    found = losses_on_test_data(tmp_path / "with")
    assert len(found) == 3
    for losses in found:
        total = losses.pop("validation/total_loss")
        assert total == pytest.approx(sum(losses.values()))
        assert total > 0
    best = json.loads((tmp_path / "with" / "best.json").read_text())
    totals = [losses["validation/total_loss"] for losses in losses_on_test_data(tmp_path / "with")]
    assert (best["metric"], best["value"]) == ("validation/total_loss", min(totals))


def prepared(name: str, data: dict[str, Path], *settings: str):
    recipe = apply_settings(
        load_recipe(name),
        [f"data={data[name]}", *SETTINGS[name], *LOADERS, "train.device=cpu", "train.amp=off", *settings],
    )
    return recipe, read_data(recipe, to_train=True)


@pytest.mark.parametrize("name", [DINO, MASK2FORMER, UPERNET, CLASSIFIER, RCNN])
def test_the_same_weights_have_the_same_losses_and_nothing_is_changed(name, data):
    recipe, read = prepared(name, data)
    torch.manual_seed(0)
    model = build_model(recipe).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    measure = ValidationLoss(recipe, read.test)
    state = torch.get_rng_state()
    losses = measure(model)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert measure(model) == losses == ValidationLoss(recipe, read.test)(model)
    assert losses["total_loss"] > 0
    assert_same(dict(model.state_dict()), before)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


def of_each_process(folder: str, dataset: str) -> None:
    torch.set_num_threads(1)
    with forgotten_afterwards():
        recipe, read = prepared(DINO, {DINO: Path(dataset)})
        torch.manual_seed(0)
        losses = ValidationLoss(recipe, read.test)(build_model(recipe))
        (Path(folder) / str(comm.get_rank())).write_text(json.dumps({"images": len(read.test), **losses}))


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path):
    """They have different numbers of images."""
    processes = dict(num_machines=1, machine_rank=0, dist_url="auto", use_cuda=False)
    dataset = write_boxes(tmp_path / "boxes", count=3)
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, number in ((one, 1), (two, 2)):
        folder.mkdir()
        launch(of_each_process, num_processes=number, args=(str(folder), str(dataset)), **processes)
    alone, first, second = (json.loads(file.read_text()) for file in (one / "0", two / "0", two / "1"))
    assert alone["images"] % 2
    assert first == second == pytest.approx(alone, rel=1e-6)


def test_losses_are_means_over_so_many_images_from_all_over_the_test_data(data):
    recipe, read = prepared(DINO, data, "train.validation_loss_images=2", "dataloader.test.batch_size=1")
    few = ValidationLoss(recipe, read.test)
    ids = [image["image_id"] for image in read.test]
    assert [image["image_id"] for image in few.images] == [ids[0], ids[-1]]
    torch.manual_seed(0)
    model = build_model(recipe)
    together = few(model)["loss_class"]  # of the matched queries, in which nothing is random
    alone = []
    for image in list(few.images):
        few.images = SharedMemoryDataset([image])
        alone.append(few(model)["loss_class"])
    assert alone[0] != alone[1]
    assert together == pytest.approx(sum(alone) / 2)


def test_targets_are_made_without_the_augmentations_of_the_training():
    recipe, before = load_recipe(UPERNET), load_recipe(UPERNET)
    mapper = build_mapper(recipe)
    assert isinstance(mapper, SemanticSegMapper)
    assert mapper.is_train
    assert [type(one).__name__ for one in mapper.augmentations.augs] == ["ResizeShortestEdge"]
    assert recipe == before
    del recipe.dataloader.test.mapper.augmentations
    with pytest.raises(RecipeError, match=r"train\.validation_loss=True takes the augmentations .*: leave it off"):
        build_mapper(recipe)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([nn.Dropout(0.5), nn.Dropout2d(0.5), nn.BatchNorm1d(2), StochasticDepth(0.5, "row")])
        self.attention = nn.MultiheadAttention(2, 1, dropout=0.5)
        self.parts[2].eval()


def test_what_regularizes_is_off_and_then_as_before():
    model = Noisy()
    with losses_mode(model):
        assert model.training
        assert model.attention.training
        assert model.attention.dropout == 0
        assert not any(part.training for part in model.parts)
        assert not takes_statistics(model)
    assert [part.training for part in model.parts] == [True, True, False, True]
    assert model.attention.dropout == 0.5

"""What stands between a recipe and a run: names of classes, initial weights, wrappers for evaluation."""

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from omegaconf import OmegaConf
from torch import nn

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.checkpoint import checkpoint_metadata, save_weights
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.engine import run
from focalnet_d2.engine.checkpointing import class_names
from focalnet_d2.engine.preflight import RunData
from tests.dino.building import build_dino
from tests.mask2former.building import build_mask2former, tiny_backbone


def loader(name: str):
    return OmegaConf.create({"dataset": {"names": name}})


@pytest.fixture
def register(tmp_path):
    """Registers a data set of one image with these metadata, until the test ends."""
    registered = []

    def add(name: str, found: dict | None = None, **metadata) -> str:
        image = tmp_path / "1.jpg"
        image.touch()

        def load() -> list[dict]:
            MetadataCatalog.get(name).set(**(found or {}))
            return [{"file_name": str(image), "image_id": 1, "annotations": []}]

        DatasetCatalog.register(name, load)
        MetadataCatalog.get(name).set(image_root=str(tmp_path), **metadata)
        registered.append(name)
        return name

    yield add
    for name in registered:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ({"thing_classes": ["cat", "dog"]}, ["cat", "dog"]),
        ({"stuff_classes": ["cat", "dog", "sky"]}, ["cat", "dog", "sky"]),
        ({"thing_classes": ["cat", "dog"], "stuff_classes": ["cat", "dog", "sky"]}, ["cat", "dog", "sky"]),
    ],
)
def test_classes_of_each_kind_of_data_set(register, metadata, names):
    assert class_names(loader(register("kind_train", **metadata))) == names


@pytest.mark.parametrize("key", ["thing_classes", "stuff_classes"])
def test_classes_that_only_the_annotations_know_are_read_when_asked_for(register, key):
    name = register("unread_train", found={key: ["cat"]})
    assert class_names(loader(name), read=False) is None
    assert class_names(loader(name)) == ["cat"]


def recipe_with(**train):
    """Settings that the functions under test read; no recipe's model is built."""
    defaults = dict(new_classes=False, keep_settings=False, backbone_only=False, output_dir="unused", amp="off")
    defaults["test_time_augmentation"] = {"enabled": False, "wrapper": None}
    node = {"dataset": {"names": "nothing_here"}, "mapper": {"augmentations": [1, 2]}, "_target_": "builtins.dict"}
    nodes = {"train": node, "test": node}
    content = {"train": {**defaults, **train}, "dataloader": {**nodes, "evaluator": {"_target_": "builtins.dict"}}}
    return OmegaConf.create(content, flags={"allow_objects": True})


def small_dino():
    sizes = dict(embed_dim=8, depths=(1, 1, 1, 1), focal_levels=(1, 1, 1, 1), focal_windows=(3, 3, 3, 3))
    backbone = FocalNet(**sizes, out_features=("res3", "res4", "res5"))
    return build_dino(backbone, num_queries=5, layers=(1, 1), ffn_dim=16, num_classes=2)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_backbone_moves_between_the_heads_to_train_but_not_to_evaluate(tmp_path, reverse):
    models = small_dino(), build_mask2former(tiny_backbone())
    file, model = models[::-1] if reverse else models
    save_weights(tmp_path / "m.safetensors", file, checkpoint_metadata(file))
    recipe = recipe_with(init_checkpoint=str(tmp_path / "m.safetensors"), backbone_only=True)
    run.load_initial_weights(model, recipe, to_train=True)
    assert model.get_parameter(names(model)[0]).equal(file.get_parameter(names(file)[0]))
    for setting, to_train in ((True, False), (False, True)):
        recipe.train.backbone_only = setting
        with pytest.raises(ValueError, match=r"m\.safetensors .*set train\.backbone_only=True"):
            run.load_initial_weights(model, recipe, to_train=to_train)


def names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters() if name.endswith("blocks.0.mlp.fc1.weight")]


def test_settings_say_which_entry_and_which_values_of_the_file_are_loaded(tmp_path):
    file, model = small_dino(), small_dino()
    state = {name: value.clone() for name, value in file.state_dict().items()}
    name = next(iter(state))
    state[name].view(-1)[0] = torch.nan
    torch.save({"model": {"x": torch.ones(1)}, "net": state}, tmp_path / "m.pth")
    recipe = recipe_with(init_checkpoint=str(tmp_path / "m.pth"))
    with pytest.raises(ValueError, match=r"m\.pth holds weights under model and net: set train\.weights_entry="):
        run.load_initial_weights(model, recipe, to_train=True)
    recipe.train.weights_entry = "net"
    with pytest.raises(ValueError, match=rf"{name}.*train\.allow_nonfinite=True"):
        run.load_initial_weights(model, recipe, to_train=True)
    recipe.train.allow_nonfinite = True
    run.load_initial_weights(model, recipe, to_train=True)
    assert model.state_dict()[name].view(-1)[0].isnan()


def test_recipes_have_the_settings_that_a_run_reads():
    for name in ("dino_focalnet_mini_quickstart", "mask2former_focalnet_mini_demo"):
        assert set(recipe_with(init_checkpoint="").train) <= set(load_recipe(name).train)


class Wrapper(nn.Module):
    """Stands for test-time augmentation."""

    def __init__(self, model: nn.Module, *, scale: float):
        super().__init__()
        self.model, self.scale = model, scale


def evaluated(recipe, monkeypatch) -> tuple[nn.Module, list]:
    """The model that `evaluate` runs, and the augmentations of its images."""
    seen = []
    monkeypatch.setattr(run, "run_evaluation", lambda model, loader, *rest: seen.append((model, loader)))
    run.evaluate(nn.Linear(1, 1), recipe, RunData(None, ["an image"], DatasetEvaluator()))
    model, loader = seen[0]
    return model, list(loader["mapper"]["augmentations"])


def test_evaluation_wraps_the_model_and_keeps_images_whole_when_augmentation_is_enabled(monkeypatch):
    recipe = recipe_with(test_time_augmentation={"enabled": True, "wrapper": L(Wrapper)(scale=2.0)})
    before = OmegaConf.to_container(recipe)
    wrapped, augmentations = evaluated(recipe, monkeypatch)
    assert (type(wrapped), type(wrapped.model), wrapped.scale) == (Wrapper, nn.Linear, 2.0)
    assert augmentations == []
    assert OmegaConf.to_container(recipe) == before
    recipe.train.test_time_augmentation.enabled = False
    model, augmentations = evaluated(recipe, monkeypatch)
    assert isinstance(model, nn.Linear)
    assert augmentations == [1, 2]


def test_augmentation_that_a_recipe_does_not_have_is_refused(monkeypatch):
    recipe = recipe_with(test_time_augmentation={"enabled": True, "wrapper": None})
    with pytest.raises(ValueError, match=r"test_time_augmentation\.enabled is True, but .* no wrapper"):
        evaluated(recipe, monkeypatch)


def test_no_checkpoint_leaves_the_weights():
    model = nn.Linear(2, 2)
    before = model.weight.clone()
    run.load_initial_weights(model, recipe_with(init_checkpoint=""), to_train=True)
    assert torch.equal(model.weight, before)

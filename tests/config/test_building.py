"""Groups are built as Detectron2 builds them; an error names the group that could not be built."""

import pytest
import torch
from omegaconf import OmegaConf

from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import RecipeError

NORM = "torch.nn.GroupNorm"
LINEAR = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}


def group(**settings):
    return OmegaConf.create(settings, flags={"allow_objects": True})


def test_groups_in_groups_and_lists_are_built():
    node = group(_target_="torch.nn.ModuleList", modules=[LINEAR])
    (linear,) = build(node, "model")
    assert linear.weight.shape == (3, 2)
    assert node.modules[0] == LINEAR


def test_arguments_of_the_run_do_not_change_the_recipe():
    node = group(_target_="torch.nn.Linear", in_features=2)
    assert build(node, "model", out_features=torch.tensor(4).item()).out_features == 4
    assert "out_features" not in node


def test_what_builds_nothing_is_itself():
    assert build(None, "train.microbatch_weights") is None
    assert build(group(x=[1]), "x") == {"x": [1]}


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"num_groups": 3, "num_channels": 4}, r"^model\.modules\.1: num_channels .*must be divisible"),
        ({"num_groups": 0, "num_channels": 4}, r"^model\.modules\.1: .*zero"),
        ({"num_groups": 1}, r"^model\.modules\.1: .*num_channels"),
        ({"num_groups": 1, "num_channels": -2}, r"^model\.modules\.1: .*negative"),
    ],
)
def test_an_error_names_the_innermost_group(inner, message):
    node = group(_target_="torch.nn.ModuleList", modules=[LINEAR, {"_target_": NORM, **inner}])
    with pytest.raises(RecipeError, match=message):
        build(node, "model")


def test_missing_files_and_full_memory_stay_what_they_are():
    def full(**_):
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        build(group(_target_=full), "model")
    with pytest.raises(FileNotFoundError):
        build(group(_target_="builtins.open", file="no/such/file"), "model")

"""Recipes and overrides with names of 0.1.0."""

import warnings

import pytest
from omegaconf import OmegaConf

from focalnet_d2.config import moved
from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe, recipe_from_yaml, recipe_to_yaml
from focalnet_d2.modeling.atss.criterion import ATSSCriterion

ATSS = "focalnet_d2.modeling.atss.criterion.ATSSCriterion"
OLD = """
model:
  criterion: {_target_: focalnet_d2.modeling.atss_criterion.ATSSCriterion, num_classes: 3, centreness_weight: 2.0}
  parts: [focalnet_d2.box_fusion.WeightedBoxFusion, plain]
dataloader: {}
optimizer: {decay_rule: d2, lr: 0.1}
lr_multiplier: {}
train: {part_weights: {_target_: focalnet_d2.engine.accumulation.EqualWeights}, output_dir: here}
"""
NEW = {
    "model": {
        "criterion": {"_target_": ATSS, "num_classes": 3, "centerness_weight": 2.0},
        "parts": ["focalnet_d2.inference.box_fusion.WeightedBoxFusion", "plain"],
    },
    "dataloader": {},
    "optimizer": {"decay_rule": "detectron2", "lr": 0.1},
    "lr_multiplier": {},
    "train": {"microbatch_weights": {"_target_": "focalnet_d2.engine.accumulation.EqualWeights"}, "output_dir": "here"},
}
OLD_NAMES = (
    "focalnet_d2.modeling.atss_criterion.ATSSCriterion",
    "model.criterion.centreness_weight",
    "focalnet_d2.box_fusion.WeightedBoxFusion",
    "optimizer.decay_rule=d2",
    "train.part_weights",
)
FRAGMENT = """
from types import SimpleNamespace

from detectron2.config import LazyCall as L
from focalnet_d2.engine.accumulation import ObjectWeights
from focalnet_d2.modeling.atss.criterion import ATSSCriterion

model = L(SimpleNamespace)(criterion=L(ATSSCriterion)(num_classes="${..width}", centerness_weight=1.0), width=3)
dataloader = dict()
optimizer = dict(decay_rule="all")
lr_multiplier = dict()
train = dict(microbatch_weights=L(ObjectWeights)(), output_dir="")
"""
TYPED = """
from detectron2.config import LazyCall as L
from focalnet_d2.engine.accumulation import EqualWeights

from .fragment import dataloader, lr_multiplier, model, optimizer, train

model.criterion.centreness_weight = "${..width}"
optimizer.decay_rule = "mm"
train.part_weights = L(EqualWeights)()
"""


@pytest.fixture(autouse=True)
def nothing_warned_yet(monkeypatch):
    """Names that other tests of this process have used warn again."""
    monkeypatch.setattr(moved, "_warned", set())


@pytest.fixture
def recipe():
    """A recipe of today."""
    return OmegaConf.create(NEW, flags={"allow_objects": True})


def messages(caught) -> list[str]:
    return [str(warning.message) for warning in caught]


def test_yaml_becomes_that_of_today_with_one_warning_a_name():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recipes = [recipe_from_yaml(OLD) for _ in range(2)]
    assert [OmegaConf.to_container(recipe) for recipe in recipes] == [NEW, NEW]
    assert sorted(message.split("'")[1] for message in messages(caught)) == sorted(OLD_NAMES)


def test_yaml_of_today_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert OmegaConf.to_container(recipe_from_yaml(recipe_to_yaml(OmegaConf.create(NEW)))) == NEW


def test_yaml_with_a_setting_by_both_names_is_refused():
    text = OLD.replace("centreness_weight: 2.0", "centreness_weight: 2.0, centerness_weight: 1.0")
    with pytest.raises(RecipeError, match=r"mine\.yaml sets 'model.criterion.centreness_weight' and .*centerness_wei"):
        recipe_from_yaml(text, "mine.yaml")


def test_what_a_python_recipe_types_by_an_old_name_counts(tmp_path):
    (tmp_path / "fragment.py").write_text(FRAGMENT)
    path = tmp_path / "mine.py"
    path.write_text(TYPED)
    with pytest.warns(FutureWarning) as caught:
        recipe = load_recipe(path)
    assert recipe.model.criterion == {"_target_": ATSSCriterion, "num_classes": 3, "centerness_weight": 3}
    recipe.model.width = 4
    assert recipe.model.criterion.centerness_weight == 4  # still a link
    assert recipe.optimizer.decay_rule == "mmdetection"
    assert recipe.train.microbatch_weights._target_.__name__ == "EqualWeights"
    assert "part_weights" not in recipe.train
    assert len(messages(caught)) == 3


@pytest.mark.parametrize(
    ("old", "key", "value"),
    [
        ("model.criterion.centreness_weight=3", "model.criterion.centerness_weight", 3),
        ("train.part_weights=null", "train.microbatch_weights", None),
        ("train.part_weights._target_=torch.nn.Identity", "train.microbatch_weights._target_", "torch.nn.Identity"),
        ("optimizer.decay_rule=cls", "optimizer.decay_rule", "imagenet"),
    ],
)
def test_an_old_override_sets_what_it_is_called_today(recipe, old, key, value):
    with pytest.warns(FutureWarning, match="is now"):
        apply_overrides(recipe, [old])
    assert OmegaConf.select(recipe, key) == value
    assert "part_weights" not in recipe.train
    assert "centreness_weight" not in recipe.model.criterion


def test_an_old_name_inside_the_value_of_an_override(recipe):
    with pytest.warns(FutureWarning, match="train.microbatch_weights"):
        apply_overrides(recipe, ["train={part_weights:{_target_:torch.nn.Identity}}"])
    assert recipe.train.microbatch_weights == {"_target_": "torch.nn.Identity"}


def test_overrides_by_both_names_are_refused(recipe):
    with pytest.raises(RecipeError, match=r"'train\.part_weights' and 'train\.microbatch_weights'"):
        apply_overrides(recipe, ["train.part_weights=null", "train.microbatch_weights=null"])
    assert OmegaConf.to_container(recipe) == NEW


@pytest.mark.parametrize("override", ["model.centreness_weight=1", "optimizer.part_weights=null"])
def test_an_old_name_elsewhere_is_an_unknown_key(recipe, override):
    with pytest.raises(RecipeError, match="Unknown key"):
        apply_overrides(recipe, [override])

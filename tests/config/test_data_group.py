"""The group `data` of a recipe: its short form, its class names, its defaults, and what is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from focalnet_d2.config.class_names import read_class_names
from focalnet_d2.config.data_group import DEFAULTS, check_data_group
from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe, recipe_from_yaml, recipe_to_yaml

RECIPE = recipe_to_yaml(load_recipe("dino_focalnet_mini_balloon"))
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\"'"), min_size=1)


def group(*overrides: str) -> dict:
    recipe = apply_overrides(recipe_from_yaml(RECIPE), overrides)
    return OmegaConf.to_container(recipe.data)


def test_the_short_form_stands_beside_other_settings():
    assert group("data=some dir", "data.train=a.json") == {**DEFAULTS, "root": "some dir", "train": "a.json"}
    assert group("data=Bücher (1)/x")["root"] == "Bücher (1)/x"
    assert group(r"data.split_groups=^(\d+)_")["split_groups"] == r"^(\d+)_"
    assert group("data.val_share=0.5", "data.split_seed=7") == {**DEFAULTS, "val_share": 0.5, "split_seed": 7}


def test_defaults_are_not_shared_between_recipes():
    recipe = apply_overrides(recipe_from_yaml(RECIPE), ["data=a"])
    recipe.data.drop.append("cat")
    recipe.data.rename["a"] = "b"
    assert group("data=a") == {**DEFAULTS, "root": "a"}


def test_names_of_classes_are_free_keys_and_texts():
    assert group("data.drop=[a b, 1, null, yes]")["drop"] == ["a b", "1", "null", "yes"]
    assert group('data.rename={traffic light:light, "a, b":Müll (alt)}')["rename"] == {
        "traffic light": "light",
        "a, b": "Müll (alt)",
    }
    assert group("data.merge={animal:[cat, 'dog']}")["merge"] == {"animal": ["cat", "dog"]}
    assert group("data.drop=[bird's nest]")["drop"] == ["bird's nest"]
    assert group("data.rename={a:b}", "data.rename={}")["rename"] == {}


@given(st.lists(NAMES, max_size=4), st.sampled_from("\"'"))
@settings(max_examples=50, deadline=None)
def test_any_name_can_be_quoted(names, quote):
    text = ",".join(f"{quote}{name}{quote}" for name in names)
    assert read_class_names("data.drop", f"[{text}]") == names
    table = {name: name for name in names}
    pairs = ",".join(f"{quote}{name}{quote}:{quote}{name}{quote}" for name in table)
    assert read_class_names("data.rename", f"{{{pairs}}}") == table


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.droop=[a]", "Unknown key 'data.droop' in the overrides: the nearest existing key is 'data.drop'"),
        ("data.drop=a", "Cannot read the value of 'data.drop=a'|data.drop is 'a': it must be a list"),
        ("data.drop=[a", "Cannot read the value of 'data.drop=.a'"),
        ("data.drop=[[a]]", "data.drop takes names of classes: write it as data.drop="),
        ("data.rename={a:[b]}", "data.rename takes names of classes"),
        ("data.rename={a:b,a:c}", "Cannot read the value"),
        ("data.merge={a:b}", "data.merge takes names of classes"),
        ("data.val_share=2", "data.val_share is 2: it must be a number of at least 0 and below 1"),
        ("data.split_seed=-1", "data.split_seed is -1"),
        ("data.root=null", "data.root is null: it must be a text"),
        ("data.found=3", "data.found is 3"),
    ],
)
def test_other_values_are_refused(override, message):
    with pytest.raises(RecipeError, match=message):
        group(override)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 2.5}, r"data.channels is 2.5: it must be a number of channels, or a list"),
        ({"channels": "abc"}, r"data.channels is abc: it must be a number of channels, or a list"),
        ({"channels": [1.5]}, r"data.channels is \[1.5\]: it must list numbers of channels"),
        ({"channels": 5, "rgb": 4}, r"data.rgb is 4: write it as a list"),
        ({"channels": 5, "mean": 0.5, "std": [1]}, r"data.mean is 0.5: write it as a list"),
    ],
)
def test_channels_of_another_kind_are_refused(settings, message):
    recipe = OmegaConf.create({"data": settings})
    with pytest.raises(RecipeError, match=message):
        check_data_group(recipe)


def test_a_recipe_names_its_folder_itself(tmp_path):
    content = json.dumps(str(tmp_path))
    file = tmp_path / "mine.py"
    shipped = "\n".join(
        f"from focalnet_d2.configs.common.{part} import {name}"
        for part, name in [
            ("data.coco_detection", "dataloader"),
            ("models.dino_mini", "model"),
            ("optim", "adamw as optimizer"),
            ("schedules", "drop_at_80_percent as lr_multiplier"),
            ("train", "train"),
        ]
    )
    file.write_text(f"{shipped}\ndata = dict(root={content}, drop=['cat'])\n")
    assert load_recipe(file).data == {**DEFAULTS, "root": str(tmp_path), "drop": ["cat"]}
    file.write_text(f"{shipped}\ndata = dict(foot='x')\n")
    with pytest.raises(RecipeError, match="Unknown key 'data.foot': the nearest existing key is 'data.root'"):
        load_recipe(file)
    file.write_text(f"{shipped}\ndata = {content}\n")
    with pytest.raises(RecipeError, match=r"sets data to a value: write data = dict\(root=...\)"):
        load_recipe(file)


def test_the_group_survives_yaml():
    recipe = apply_overrides(recipe_from_yaml(RECIPE), ["data=dir", "data.rename={1:yes}", "data.drop=[null]"])
    again = recipe_from_yaml(recipe_to_yaml(recipe))
    assert again.data == recipe.data
    assert again.data.rename == {"1": "yes"}

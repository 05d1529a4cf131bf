"""Loading of recipes and strict overrides."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from focalnet_d2.config.lazy import (
    RecipeError,
    apply_overrides,
    find_recipe,
    load_recipe,
    recipe_folder,
    recipe_from_yaml,
    recipe_to_yaml,
)

SMALL = """
from detectron2.config import LazyCall as L
from torch import nn

model = L(nn.Linear)(in_features=4, out_features="${.in_features}")
dataloader = dict(train=dict(augmentations=[dict(scale=1.0), dict(scale=2.0)]))
optimizer = dict(lr=0.1, betas=(0.9, 0.999))
lr_multiplier = dict(value=1.0)
train = dict(max_iter=10, output_dir="", ema=dict(enabled=False, decay=0.9), amp="off")
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    return path


@pytest.fixture
def recipe(recipe_file):
    return load_recipe(recipe_file)


@pytest.mark.parametrize("form", ["dino_focalnet_huge", "dino_focalnet_huge.py", "configs/dino_focalnet_huge.py"])
def test_shipped_recipe_by_name_or_path(form, monkeypatch):
    monkeypatch.chdir(recipe_folder().parent)
    assert find_recipe(form) == recipe_folder() / "dino_focalnet_huge.py"


def test_unknown_recipe_names_near_ones():
    with pytest.raises(RecipeError, match="dino_focalnet_hugee.*dino_focalnet_huge"):
        load_recipe("dino_focalnet_hugee")


def test_missing_path_is_not_looked_up_by_its_name(tmp_path):
    with pytest.raises(RecipeError, match="nowhere"):
        load_recipe(tmp_path / "nowhere" / "dino_focalnet_huge.py")


def test_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(RecipeError, match=r"\.py or \.yaml"):
        load_recipe(tmp_path / "weights.pth")


def test_missing_and_extra_names(recipe_file):
    recipe_file.write_text(SMALL.replace("lr_multiplier", "schedule"))
    with pytest.raises(RecipeError, match="lacks lr_multiplier"):
        load_recipe(recipe_file)
    recipe_file.write_text(SMALL + "\nhelper = dict(a=1)\n_hidden = dict(a=1)\n")
    with pytest.raises(RecipeError, match="extra name helper.*underscore"):
        load_recipe(recipe_file)


def test_output_folder_is_named_after_the_recipe(recipe):
    assert recipe.train.output_dir == "output/small"


def test_an_empty_output_folder_of_a_yaml_recipe_is_named_after_it_too(recipe, tmp_path):
    recipe.train.output_dir = ""
    (tmp_path / "other.yaml").write_text(recipe_to_yaml(recipe))
    assert load_recipe(tmp_path / "other.yaml").train.output_dir == "output/other"


def test_yaml_keeps_links_and_names_callables(recipe, tmp_path):
    text = recipe_to_yaml(recipe)
    assert "torch.nn.modules.linear.Linear" in text
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    again = load_recipe(path)
    again.model.in_features = 7
    assert again.model.out_features == 7
    assert OmegaConf.to_container(again.optimizer) == {"lr": 0.1, "betas": [0.9, 0.999]}


@pytest.mark.parametrize("text", ["- a\n- b", "a: [1", "!!python/object/apply:os.getcwd []"])
def test_yaml_that_is_no_recipe_is_refused_and_runs_nothing(text):
    with pytest.raises(RecipeError, match="YAML"):
        recipe_from_yaml(text)


def test_values_follow_hydras_grammar(recipe):
    apply_overrides(
        recipe,
        [
            "train.max_iter=20",
            "train.amp=off",
            "train.ema.enabled=true",
            "optimizer.betas=[0.8,0.99]",
            "dataloader.train.augmentations.1.scale=0.5",
            "train.output_dir='a b'",
            "train.ema={decay:0.5}",
        ],
    )
    assert recipe.train == {
        "max_iter": 20,
        "amp": "off",
        "ema": {"enabled": True, "decay": 0.5},
        "output_dir": "a b",
    }
    assert list(recipe.optimizer.betas) == [0.8, 0.99]
    assert [node.scale for node in recipe.dataloader.train.augmentations] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("train.max_itr=10", "train.max_iter"),
        ("optimiser.lr=1", "optimizer.lr"),
        ("train.ema.enable=true", "train.ema.enabled"),
        ("dataloader.train.augmentations.2.scale=1", "dataloader.train.augmentations"),
        ("model.in_feature=3", "model.in_features"),
        ("optimizer.lr.x=3", "optimizer.lr"),
    ],
)
def test_unknown_key_is_an_error_that_names_the_nearest(recipe, override, nearest):
    before = recipe_to_yaml(recipe)
    with pytest.raises(RecipeError) as error:
        apply_overrides(recipe, [override])
    assert override.split("=")[0] in str(error.value)
    assert nearest in str(error.value)
    assert recipe_to_yaml(recipe) == before


def test_argument_of_the_built_callable_is_no_unknown_key(recipe):
    apply_overrides(recipe, ["model.bias=false"])
    assert recipe.model.bias is False


@pytest.mark.parametrize("override", ["train.max_iter", "+train.new=1", "~train.amp", "train@x.amp=off"])
def test_override_of_another_form_is_refused(recipe, override):
    with pytest.raises(RecipeError, match="key=value"):
        apply_overrides(recipe, [override])


def test_value_for_a_group_is_refused(recipe):
    with pytest.raises(RecipeError, match=r"train\.ema\.\{enabled, decay\}"):
        apply_overrides(recipe, ["train.ema=true"])


def test_tree_is_open_again_afterwards(recipe):
    apply_overrides(recipe, ["train.max_iter=1"])
    recipe.train.note = "new"
    with pytest.raises(RecipeError):
        apply_overrides(recipe, ["train.max_itr=1"])
    recipe.train.other = "new"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("broken.py", b"def (", "is not Python: line 1"),
        ("broken.py", b"x = 1\n\nmodel = {", "is not Python: line 3"),
        ("broken.py", b"name = 'Caf\xe9'", "is not a text in UTF-8"),
        ("broken.py", b"x = 1\0", "is not a text: it has NUL bytes"),
        ("broken.py", b" \n", "is empty"),
        ("broken.yaml", b"", "is empty"),
        ("broken.yaml", b"\x80\x02PK\x03\x04", "is not a text in UTF-8"),
        ("broken.yaml", b"a\0b", "is not a text: it has NUL bytes"),
        ("broken.yaml", b"# a comment\n", "does not hold a recipe"),
        ("broken.yaml", b"&key : *key", "does not hold a recipe"),
        ("broken.yaml", b"model: &a {b: *a}", "is not readable as YAML: 'a' holds itself"),
        ("broken.yaml", b"model: {a: 1, b: 2, a: 3}", "is not readable as YAML: the key 'a' stands twice"),
        ("broken.yaml", b"model: 2024-99-99", "is not readable as YAML"),
        ("broken.yaml", b"[" * 3000, "is not readable as YAML"),
        ("broken.yaml", b"model: 1", "lacks dataloader"),
    ],
)
def test_a_file_that_is_no_recipe_is_named_with_what_is_wrong(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=f"^Recipe .*{name} {words}"):
        load_recipe(tmp_path / name)


def test_yaml_numbers_with_an_exponent_are_numbers():
    values = recipe_from_yaml("{a: 1e-4, b: 1e3, c: -2E+1, d: 1.5e-3, e: 1e3x, f: '1e3', g: 10}")
    assert list(values.values()) == [1e-4, 1000.0, -20.0, 1.5e-3, "1e3x", "1e3", 10]

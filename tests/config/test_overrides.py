"""Values of overrides: read as what the setting takes, or refused in one sentence before anything is built."""

import contextlib
import shlex
from collections.abc import Sequence
from typing import Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.data_group import is_of_data
from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe, recipe_from_yaml, recipe_to_yaml
from focalnet_d2.config.setting_values import fit
from focalnet_d2.config.settings import AMP_MODES, SETTINGS, Setting, annotated, replacing
from focalnet_d2.engine.optimizer import DECAY_RULES, DecayRule
from tests.recipes import RECIPES, recipe_named

RECIPE = recipe_to_yaml(load_recipe("dino_focalnet_mini_balloon"))


def recipe() -> DictConfig:
    return recipe_from_yaml(RECIPE)


def value_of(*overrides: str) -> object:
    """What the setting of the last override is afterwards."""
    key = overrides[-1].partition("=")[0]
    return OmegaConf.select(apply_overrides(recipe(), list(overrides)), key)


def refusal(*overrides: str) -> str:
    with pytest.raises(RecipeError) as error:
        apply_overrides(recipe(), list(overrides))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("key", ["train.ema.enabled", "train.new_classes", "dataloader.train.dataset.filter_empty"])
@pytest.mark.parametrize(
    ("word", "flag"),
    [("off", False), ("No", False), ("false", False), ("0", False), ("on", True), ("YES", True), ("True", True)],
)
def test_words_for_flags_are_flags_where_a_flag_stands(key, word, flag):
    assert value_of(f"{key}={word}") is flag


@pytest.mark.parametrize("word", ["None", "null"])
def test_none_is_none_where_it_may_stand_and_refused_elsewhere(word):
    for key in ("train.init_checkpoint", "optimizer.lr_factor", "train.test_time_augmentation.wrapper"):
        assert value_of(f"{key}={word}") is None
    for key in ("train", "model", "train.ema", "train.ema.enabled", "train.clip_norm", "train.output_dir"):
        assert f"{key} is null: it must be" in refusal(f"{key}={word}")
    assert value_of(f"train.output_dir='{word}'") == word


@pytest.mark.parametrize(
    "override",
    [
        *("train.max_iter=abc", "train.max_iter=-5", "train.max_iter=0", "train.max_iter=1.5", "train.max_iter=true"),
        *("train.max_iter='100'", "train.max_iter=", "train.log_period=0", "train.log_period=nan", "train.seed=-1"),
        *("train.clip_norm=nan", "train.clip_norm=-1", "train.clip_norm=inf", "train.clip_norm=off"),
        *("train.accumulation=0", "train.checkpoint_period=-1", "train.ema.decay=1", "train.ema.enabled=maybe"),
        *("train.amp=fp8", "train.amp=on", "train.parallel=dp", "train.output_dir=[1]", "train.device=null"),
        *("optimizer.decay_rule=xx", "optimizer.decay_rule=null", "optimizer.lr=nan", "optimizer.lr=-1e-4"),
        *("optimizer.betas=0.9", "dataloader.train.total_batch_size=0", "lr_multiplier.num_updates=abc"),
        *("model.num_classes=x", "model.num_classes=2.5", "dataloader.test.mapper.augmentations.0.max_size=off"),
        *("train.test_time_augmentation.wrapper=3", "model.backbone.bottom_up.use_checkpoint=2"),
    ],
)
def test_a_value_that_the_setting_does_not_take_is_named_with_what_it_takes(override):
    key = override.partition("=")[0]
    message = refusal(override)
    assert key in message
    assert "it must be" in message or "is a group of settings" in message


def test_arguments_that_a_constructor_hands_on_are_those_of_its_base_class():
    assert (
        refusal("model.criterion.class_weight=[1,2]") == "model.criterion.class_weight is [1, 2]: it must be a number."
    )
    assert value_of("model.criterion.class_weight=2") == 2
    assert value_of("model.criterion.gamma=1.5") == 1.5  # of the base class alone
    assert "Unknown key 'model.criterion.gama'" in refusal("model.criterion.gama=1.5")
    assert "Unknown key 'model.criterion.self'" in refusal("model.criterion.self=1")


def test_elements_of_a_list_are_of_the_type_of_those_that_they_replace():
    assert value_of("optimizer.betas=[0.8,1e-1]") == [0.8, 0.1]
    assert refusal("optimizer.betas=[0.8,abc]") == "An element of optimizer.betas is 'abc': it must be a number."
    assert value_of("dataloader.test.mapper.augmentations.0.short_edge_length=[640,800]") == [640, 800]


def test_a_group_of_values_is_checked_value_by_value():
    assert value_of("train.ema={decay:0.5,enabled:on}") == {"enabled": True, "decay": 0.5}
    assert "train.ema.decay is 'x'" in refusal("train.ema={decay:x}")
    assert "nearest existing key is 'train.ema.enabled'" in refusal("train.ema={enable:on}")


@pytest.mark.parametrize(
    "text",
    ["a=b", "a b", "run #3", "a(1).pth", "Müller/Größe", "2026", "1e3", "off", "a,b", "glob(*)", "a;b&c", "it's", "x}"],
)
def test_a_text_is_taken_as_it_is_typed(text):
    assert value_of(f"train.output_dir={text}") == text


def test_a_folder_of_the_home_is_found_there(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert value_of("train.output_dir=~/runs (2)") == "/somewhere/runs (2)"


@pytest.mark.parametrize("text", ["[draft] run", "{a", '"half', "'half", "[a b"])
def test_the_quoting_that_a_message_shows_works(text):
    message = refusal(f"train.output_dir={text}")
    shown = message[message.index("bracket, ") + len("bracket, ") :].removesuffix(".")
    (word,) = shlex.split(shown)
    assert value_of(word) == text


def test_the_quoting_of_texts_in_a_list_is_shown():
    message = refusal("dataloader.train.dataset.names=[a=b,c]")
    assert """'dataloader.train.dataset.names=["a b","c"]'""" in message
    assert value_of('dataloader.train.dataset.names=["a=b","c"]') == ["a=b", "c"]


def test_a_list_where_a_number_stands_and_several_values_are_refused():
    assert refusal("train.max_iter=1,2") == (
        "Cannot read the value of 'train.max_iter=1,2': it must be a whole number of at least 1 and below 2147483648."
    )
    assert refusal("optimizer.betas=(0.9,0.99)").endswith(
        "it must be a list of 2; a list is written optimizer.betas=[0.9,0.99]."
    )
    assert refusal("train.loggers=csv,wandb").endswith("a list is written train.loggers=[csv,wandb].")


def test_a_link_is_kept_and_checked_by_what_it_leads_to():
    assert value_of("train.eval_period=7", "train.checkpoint_period=${.eval_period}") == 7
    assert "train.log_period is 'auto'" in refusal("train.log_period=${train.device}")
    assert "'nowhere' not found" in refusal("train.log_period=${nowhere}")


def test_an_empty_output_folder_is_the_recipes_own_again():
    own = recipe().train.output_dir
    assert own == "output/dino_focalnet_mini_balloon"
    assert value_of("train.output_dir=") == own
    assert value_of("train.output_dir=elsewhere", "train.output_dir=") == own
    assert value_of("train.output_dir=", "train.output_dir=elsewhere") == "elsewhere"


def test_settings_of_the_recipe_itself_are_checked():
    for key, value in (("train.max_iter", 0), ("train.amp", "fp8"), ("optimizer.decay_rule", "xx"), ("train", None)):
        broken = recipe()
        OmegaConf.update(broken, key, value, merge=False)
        with pytest.raises(RecipeError, match=f"^{key} is .*: it must be "):
            apply_overrides(broken, [])
        if key != "train":
            right = OmegaConf.select(recipe(), key)
            assert OmegaConf.select(apply_overrides(broken, [f"{key}={right}"]), key) == right


def test_an_argument_of_ours_is_checked_by_its_annotation():
    broken = recipe()
    broken.model.num_classes = "many"
    with pytest.raises(RecipeError, match=r"^model\..*num_classes is 'many': it must be a whole number"):
        apply_overrides(broken, [])


def test_a_name_of_another_package_is_not_imported(monkeypatch, tmp_path):
    (tmp_path / "imported_by_mistake.py").write_text("raise AssertionError('it was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    named = recipe()
    named.model._target_ = "imported_by_mistake.Model"
    assert apply_overrides(named, ["model.num_classes=3"]).model.num_classes == 3


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_pass(name):
    changed = apply_overrides(recipe_named(name).copy(), [])
    assert "data" not in changed
    assert {key for key in SETTINGS if not is_of_data(key) and OmegaConf.select(changed, key) is None} <= {
        *("train.test_time_augmentation.wrapper", "train.init_checkpoint", "dataloader.test.batch_size"),
        *("dataloader.train.num_workers", "dataloader.test.num_workers", "train.warmup", "train.batch"),
    }


def test_choices_are_those_of_the_code_that_uses_them():
    assert get_args(DecayRule) == tuple(DECAY_RULES)
    assert "fp16" in AMP_MODES


def test_annotations_say_what_an_argument_takes():
    assert str(annotated(int | None)) == "a whole number or null"
    assert str(annotated(float)) == "a number"
    assert str(annotated(Literal["a", "b"] | None)) == "one of a, b, null"
    assert annotated(str | Sequence[str]).accepts(["a"])
    assert not annotated(tuple[float, float]).accepts(0.9)
    assert annotated(int | Setting) is None
    assert not annotated(int).accepts(True)
    assert annotated(float).accepts(1)


PLAIN = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False), st.none(), st.text("abc", min_size=1), st.just([1])
)


@given(st.sampled_from([True, 1, 0.5, "text", [1.0], {"a": 1}]), PLAIN)
def test_what_replaces_a_value_is_of_its_type_or_refused(present, value):
    setting = replacing(present)
    fitted = fit(value, str(value), setting)
    if setting.accepts(fitted):
        numbers = (int, float)
        same = type(fitted) in numbers if type(present) in numbers else type(fitted) is type(present)
        assert same or fitted is None


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_text_becomes_itself_or_is_refused(text):
    given_recipe = OmegaConf.create({"train": {"output_dir": "before"}})
    try:
        apply_overrides(given_recipe, [f"train.output_dir={text}"])
    except RecipeError:
        assert text in ("None", "null", "NULL", "Null") or any(c in text for c in "'\"[{$") or text.lower() == "null"
        return
    escaped = any(c in text for c in "\\'\"~$")
    assert given_recipe.train.output_dir in (text, text.strip()) or escaped


@settings(max_examples=20)  # each reads a whole recipe
@given(st.sampled_from(sorted(SETTINGS)), PLAIN)
def test_every_setting_of_the_table_refuses_or_takes_a_value_without_another_error(key, value):
    with contextlib.suppress(RecipeError):
        assert SETTINGS[key].accepts(value_of(f"{key}={value}"))


def test_the_nearest_key_has_the_same_last_name_where_one_has():
    assert "nearest existing key is 'model.query_selection.num_queries'" in refusal("model.num_queries=5")

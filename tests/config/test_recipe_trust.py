"""What a YAML recipe may build without being trusted. The refused names are harmless, or are never called."""

import pytest

from focalnet_d2.commands.main import main
from focalnet_d2.config.lazy import RecipeError, list_recipes, load_recipe, recipe_from_yaml, recipe_to_yaml
from focalnet_d2.config.recipe_trust import refuse_untrusted
from focalnet_d2.inference.loading import load_model
from tests.recipes import recipe_named

REST = "dataloader: {}\noptimizer: {}\nlr_multiplier: {}\ntrain: {output_dir: x, init_checkpoint: ''}\n"


def yaml_file(tmp_path, model: str):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"model: {model}\n{REST}", encoding="utf-8")
    return path


REFUSED = (
    "builtins.dict",
    "builtins.eval",
    "os.getcwd",
    "posix.getpid",
    "pathlib.Path",
    "subprocess.list2cmdline",
    "functools.partial",
    "torch.load",
    "torch.hub.list",
    "torch.utils.cpp_extension.include_paths",
    "detectron2.config.LazyConfig.load",
    "detectron2.utils.registry.locate",
    "focalnet_d2.inference.loading.load_model",
    "focalnet_d2.kernels.compiler.CompiledLibrary",
    "tests.recipes.recipe_named",
    # what a module of ours has imported is not ours
    "dino.model.math.sqrt",
    "focalnet_d2.data.catalog.Path",
    "focalnet_d2.data.catalog.json.loads",
    "torch.nn.modules.module.torch.load",
    "dino.model.DINO.__class__",
    "dino.model.DINO.__init__.__globals__",
    "dino.model.NoSuchThing",
    "dino.no_such_module.Thing",
    "dinosaur.Model",
    "${train.output_dir}",
    "3",
    "{x: 1}",
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_part_of_a_recipe_is_refused_before_anything_is_built(tmp_path, name):
    path = yaml_file(tmp_path, f"{{parts: [{{_target_: '{name}'}}]}}" if "{x" not in name else f"{{_target_: {name}}}")
    with pytest.raises(RecipeError, match=r"recipe\.yaml builds .*--trust"):
        load_recipe(path)
    assert load_recipe(path, trust=True).model


@pytest.mark.parametrize(
    "value", ["${oc.create:{_target_:os.getcwd}}", "a${ oc.env:HOME}", "${oc.${train.output_dir}:x}"]
)
def test_functions_of_the_configuration_are_refused(tmp_path, value):
    with pytest.raises(RecipeError, match=r"recipe\.yaml calls a function for its setting x"):
        load_recipe(yaml_file(tmp_path, f"{{x: '{value}'}}"))


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_builds_only_what_is_allowed(name):
    refuse_untrusted(recipe_from_yaml(recipe_to_yaml(recipe_named(name))), name)


def test_parts_of_other_libraries_and_links_are_allowed(tmp_path):
    parts = ("torch.nn.Linear", "torch.optim.AdamW", "detectron2.layers.ShapeSpec", "dino.model.DINO")
    model = ", ".join(f"{{_target_: {name}, out: '${{....train.output_dir}}/${{train.output_dir}}'}}" for name in parts)
    assert len(load_recipe(yaml_file(tmp_path, f"{{parts: [{model}]}}")).model.parts) == len(parts)


def test_names_of_0_1_0_are_allowed(tmp_path):
    path = yaml_file(tmp_path, "{_target_: focalnet_d2.modeling.focalnet.FocalNet}")
    with pytest.warns(FutureWarning):
        assert load_recipe(path).model._target_ == "focalnet_d2.backbone.focalnet.FocalNet"


@pytest.mark.parametrize("command", [["evaluate"], ["train"]])
def test_command_lines_end_with_one_line(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    assert main([*command, str(yaml_file(tmp_path, "{_target_: os.getcwd}"))]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "builds os.getcwd" in error


def test_a_model_is_loaded_from_a_yaml_recipe_only_as_far_as_it_is_trusted(tmp_path):
    recipe = load_recipe("dino_focalnet_mini_quickstart")
    recipe.model = {"_target_": "collections.OrderedDict"}
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_to_yaml(recipe), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"builds collections\.OrderedDict"):
        load_model(path)
    with pytest.raises(AttributeError):  # it was built, and is no model
        load_model(path, trust=True)

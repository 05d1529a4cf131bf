"""Every shipped recipe: its form, its round trip through YAML, its model on the meta device."""

import ast
import re
from functools import cache

import numpy as np
import pytest
from detectron2.config import LazyConfig, instantiate
from omegaconf import OmegaConf

from focalnet_d2 import model_zoo
from focalnet_d2.checkpoint import check_checkpoint, checkpoint_metadata
from focalnet_d2.checkpoint.focalnet import focalnet_prefix
from focalnet_d2.config.lazy import (
    RECIPE_NAMES,
    RecipeError,
    apply_overrides,
    find_recipe,
    load_recipe,
    recipe_from_yaml,
    recipe_to_yaml,
)
from focalnet_d2.config.recipe_info import RecipeInfo, read_recipe_info
from focalnet_d2.data.class_map import class_map
from focalnet_d2.evaluation.average_precision import average_precision
from focalnet_d2.evaluation.classification import TOP
from focalnet_d2.evaluation.coco_backends import find_backend
from focalnet_d2.evaluation.coco_files import Detections, GroundTruth
from focalnet_d2.evaluation.confusion import semantic_results
from focalnet_d2.evaluation.panoptic_counts import PanopticCounts, panoptic_results
from focalnet_d2.model_zoo.weights import WEIGHT_FILES
from tests.published_numbers import PUBLISHED, WITHOUT_NUMBER
from tests.recipes import RECIPES, evaluators, meta_model, rates_and_decays, recipe_named, source_of

DINO_RECIPES = [name for name in RECIPES if name.startswith(("dino_", "stable_dino_"))]
TASKS = {
    "DetectionEvaluator": ["bbox"],
    "PanopticEvaluator": ["panoptic_seg"],
    "SemanticEvaluator": ["sem_seg"],
    "ClassificationEvaluator": ["classification"],
}
SLOW_BACKBONE = ("dino_", "stable_dino_", "mask2former_")  # the others train all parts at one rate


def _with_names(value):
    """Callables by their full name, tuples as lists: what YAML can hold."""
    if isinstance(value, dict):
        return {key: _with_names(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_with_names(child) for child in value]
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else value


@cache
def printed_metrics(task: str) -> set[str]:
    """The names of the metrics that evaluation gives for a task, from one image of one class without predictions."""
    if task == "classification":
        return {f"top{places}" for places in TOP}
    if task == "sem_seg":
        return set(semantic_results(np.eye(2), ["a"], official=False))
    if task == "panoptic_seg":
        return set(panoptic_results(PanopticCounts(1), class_map([1], ["a"])))
    truth = GroundTruth("", [1], [1], ["a"], [{"id": 1, "height": 8, "width": 8}], [])
    none = Detections(np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros((0, 4)), [])
    return set(average_precision(truth, none, task, backend=find_backend("pycocotools")).in_percent())


def tasks_of(name: str) -> list[str]:
    """The tasks that a recipe's evaluators score."""
    found = evaluators(OmegaConf.to_container(recipe_named(name), resolve=True)["dataloader"]["evaluator"])
    return [task for node in found for task in node.get("tasks", TASKS[node["_target_"].__name__])]


def test_every_row_with_a_focalnet_has_a_recipe_and_every_recipe_is_known():
    assert {*PUBLISHED, *WITHOUT_NUMBER} == {name for name in RECIPES if "_mini_" not in name}


@pytest.mark.parametrize("name", RECIPES)
def test_file_is_short_and_says_how_to_run_it(name):
    """The docstring is for people: facts are in `_about`, and no published number stands twice."""
    source = source_of(name)
    doc = ast.get_docstring(ast.parse(source))
    assert source.count("\n") <= 30
    assert doc.splitlines()[0].endswith((".", "*"))
    assert model_zoo.get(name).command in " ".join(doc.split())
    assert not re.search(r"\b(AP|PQ|mIoU|top-1) \d", doc)


@pytest.mark.parametrize("name", RECIPES)
def test_published_numbers_are_those_of_the_papers_and_have_the_names_that_evaluation_prints(name):
    expected = read_recipe_info(name).expected
    assert expected == PUBLISHED.get(name, {})
    tasks = tasks_of(name)
    for metric in expected:
        base, _, condition = metric.partition(" ")
        task, _, number = base.partition("/")
        assert task in tasks
        assert number in printed_metrics(task)
        assert condition in ("", "(TTA)", "(test-dev)", "(test-dev, TTA)")


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_read_without_running_the_recipe_is_what_the_recipe_says(name):
    (about,) = LazyConfig.load(str(find_recipe(name)), ("_about",))
    assert isinstance(about, RecipeInfo)
    assert read_recipe_info(name) == about
    assert about.source


@pytest.mark.parametrize("name", RECIPES)
def test_start_is_a_known_file_or_recipe(name):
    start = read_recipe_info(name).start
    if start is not None:
        assert start.file is None or start.file in WEIGHT_FILES
        assert start.recipe is None or start.recipe in RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_has_no_functions_and_exactly_the_five_names(name):
    tree = ast.parse(source_of(name))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef)]
    assert sorted(recipe_named(name)) == sorted(RECIPE_NAMES)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_yaml(name):
    recipe = recipe_named(name)
    text = recipe_to_yaml(recipe)
    again = recipe_from_yaml(text)
    assert recipe_to_yaml(again) == text
    resolved = OmegaConf.to_container(again, resolve=True)
    assert _with_names(OmegaConf.to_container(recipe, resolve=True)) == resolved
    assert resolved["train"]["output_dir"] == f"output/{name}"


@pytest.mark.parametrize("name", RECIPES)
def test_evaluators_score_the_test_images_and_the_watched_metric(name):
    recipe = OmegaConf.to_container(recipe_named(name), resolve=True)
    found = evaluators(recipe["dataloader"]["evaluator"])
    assert {node["dataset_name"] for node in found} == {recipe["dataloader"]["test"]["dataset"]["names"]}
    assert {node["output_dir"] for node in found} == {recipe["train"]["output_dir"]}
    assert recipe["train"]["best_metric"].partition("/")[0] in tasks_of(name)


@pytest.mark.parametrize("name", RECIPES)
def test_model_on_the_meta_device(name):
    model = meta_model(name)
    assert all(value.is_meta for value in model.parameters())
    focalnet = model.get_submodule(focalnet_prefix(model).rstrip("."))
    strides = {feature: shape.stride for feature, shape in focalnet.output_shape().items()}
    assert strides == ({"res2": 16} if "_iso" in name else {f: 2 ** int(f[-1]) for f in strides})
    assert model.num_classes == recipe_named(name).model.num_classes


@pytest.mark.parametrize("name", RECIPES)
def test_weights_that_the_model_saves_load_strictly(name):
    model = meta_model(name)
    saved = {"model": dict(model.state_dict()), "metadata": checkpoint_metadata(model)}
    report = check_checkpoint(model, saved)
    assert (report.missing, report.skipped, report.resized, report.notes) == ([], {}, {}, [])
    assert set(report.loaded) == set(model.state_dict())


@pytest.mark.parametrize("name", DINO_RECIPES)
def test_scales_and_classes_of_dino(name):
    model = meta_model(name)
    strides = [shape.stride for shape in model.backbone.output_shape().values()]
    scales = int(found.group(1)) if (found := re.search(r"(\d)scale", name)) else 4 if "mini" in name else 5
    assert strides == [4, 8, 16, 32, 64][-scales:]
    assert model.num_classes == {"objects365": 365, "balloon": 1}.get(name.split("_")[-1], model.num_classes)


@pytest.mark.parametrize("name", RECIPES)
def test_optimizer_slows_the_backbone_only(name):
    node, prefix = recipe_named(name).optimizer, focalnet_prefix(meta_model(name))
    factor = 1.0 if node.lr_factor is None else node.lr_factor.factor
    for key, rate, _ in rates_and_decays(name):
        assert rate == pytest.approx(node.lr * (factor if key.startswith(prefix) else 1))
    assert factor == (0.1 if name.startswith(SLOW_BACKBONE) and "_mini_" not in name else 1.0)


@pytest.mark.parametrize("name", RECIPES)
def test_learning_rate_lasts_until_the_end(name):
    recipe = recipe_named(name)
    multiplier = instantiate(recipe.lr_multiplier)
    factors = [multiplier(where / 1000) for where in range(1000)]
    first = factors.index(max(factors))  # the end of a warm-up
    assert first < 100
    assert max(factors) > 0.98
    assert factors[:first] == sorted(factors[:first])
    assert factors[first:] == sorted(factors[first:], reverse=True)


@pytest.mark.parametrize("name", RECIPES)
def test_unknown_setting_is_refused(name):
    with pytest.raises(RecipeError, match=r"train\.max_itr.*train\.max_iter"):
        apply_overrides(load_recipe(name), ["train.max_itr=10"])


def test_published_schedules():
    huge = recipe_named("dino_focalnet_huge")
    assert (huge.optimizer.lr, huge.optimizer.lr_factor.factor) == (6e-5, 0.1)
    assert huge.model.query_selection.num_queries == 900
    resize = huge.dataloader.test.mapper.augmentations[0]
    assert (resize.short_edge_length, resize.max_size) == (1200, 2000)
    long = recipe_named("dino_focalnet_large_fl3_4scale_36ep_detrex")
    multiplier = instantiate(long.lr_multiplier)
    assert multiplier(224_999 / long.train.max_iter) == 1.0
    assert multiplier(225_000 / long.train.max_iter) == 0.1


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith("_detrex")])
def test_detrex_recipes_have_what_detrex_does_differently(name):
    recipe = recipe_named(name)
    model = recipe.model
    assert (model.position_embedding.temperature, model.position_embedding.offset) == (10000.0, -0.5)
    assert (model.shared_heads, model.mask_padding_in_eval, model.clip_boxes) == (False, False, True)
    assert recipe.optimizer.decay_rule == "detectron2"
    assert model.denoising.box_noise_scale == 1.0
    assert not model.backbone.bottom_up.get("normalize_modulator", False)

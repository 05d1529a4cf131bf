"""What every shipped recipe becomes on data of each kind, and that its model then counts the classes of the data."""

import pytest
import torch
from omegaconf import DictConfig

from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import load_recipe, recipe_from_yaml, recipe_to_yaml
from focalnet_d2.config.nodes import children, containers
from focalnet_d2.config.recipe_trust import refuse_untrusted
from focalnet_d2.data.mappers import (
    BoxAndMaskMapper,
    ClassificationMapper,
    DetectionMapper,
    InstanceMapper,
    PanopticMapper,
    SemanticMaskMapper,
    SemanticSegMapper,
)
from focalnet_d2.engine.recipe_filling import class_counts, fill_recipe, mapper_class, takes, uses_of
from focalnet_d2.engine.resuming import changed_settings
from tests.own_data_folders import dataset_of
from tests.recipes import RECIPES, evaluators, recipe_named

NAMES = {"train": "data_train", "val": "data_val"}
MASKS = (PanopticMapper, InstanceMapper, SemanticMaskMapper)
# By kind: mappers that take it as it is, and what a mapper for masks then becomes.
OF_KIND = {
    "instances": ((DetectionMapper, BoxAndMaskMapper, *MASKS), InstanceMapper),
    "panoptic": (MASKS, PanopticMapper),
    "semantic": ((SemanticSegMapper, *MASKS), SemanticMaskMapper),
    "classification": ((ClassificationMapper,), None),
}
SCORED = {
    DetectionMapper: {"DetectionEvaluator"},
    BoxAndMaskMapper: {"DetectionEvaluator"},
    InstanceMapper: {"DetectionEvaluator"},
    PanopticMapper: {"PanopticEvaluator", "DetectionEvaluator", "SemanticEvaluator"},
    SemanticMaskMapper: {"SemanticEvaluator"},
    SemanticSegMapper: {"SemanticEvaluator"},
    ClassificationMapper: {"ClassificationEvaluator"},
}
METRICS = {InstanceMapper: "segm/AP", PanopticMapper: "panoptic_seg/PQ", SemanticMaskMapper: "sem_seg/mIoU"}
RESULTS = {InstanceMapper: {"instance"}, SemanticMaskMapper: {"semantic"},
           PanopticMapper: {"semantic", "panoptic", "instance"}}  # fmt: skip
# Everything else stays as the recipe has it.
MAY_CHANGE = (
    *("dataloader.train.dataset.", "dataloader.test.dataset.", "dataloader.evaluator", "model.inference."),
    *("dataloader.train.mapper._target_", "dataloader.test.mapper._target_", "train.new_classes", "train.best_metric"),
    *("dataloader.train.mapper.num_classes", "dataloader.test.mapper.num_classes", "model.num_classes"),
    *("dataloader.train.mapper.drop_empty", "dataloader.test.mapper.drop_empty", "train.test_time_augmentation"),
)


def filled(name: str, kind: str) -> DictConfig | None:
    recipe, dataset = recipe_named(name).copy(), dataset_of(kind)
    use = next((use for use in uses_of(mapper_class(recipe)) if use.kind == kind and takes(use, dataset)), None)
    if use is None:
        return None
    fill_recipe(recipe, use, dataset.classes, NAMES)
    return recipe


def settings_named(node: DictConfig, name: str) -> list:
    return [group[name] for _, group in containers(node) if name in dict(children(group))]


@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_recipe_is_filled_in_for_each_kind_that_it_takes(name):
    own = mapper_class(recipe_named(name))
    taken = [kind for kind, (mappers, _) in OF_KIND.items() if own in mappers]
    looked_at = taken if "mini" in name else [taken[RECIPES.index(name) % len(taken)]]  # they are many
    assert taken
    for kind in OF_KIND:
        recipe = filled(name, kind)
        assert (recipe is not None) == (kind in taken)
        if recipe is not None and kind in looked_at:
            check_filled(recipe, name, OF_KIND[kind][1] if own in MASKS else own, kind)


def check_filled(recipe: DictConfig, name: str, mapper: type, kind: str) -> None:
    recipe = recipe_from_yaml(recipe_to_yaml(recipe))  # as another process reads it
    refuse_untrusted(recipe, name)
    assert set(class_counts(recipe, linked=True).values()) == {4}
    loaders = recipe.dataloader.train, recipe.dataloader.test
    assert [loader.dataset.names for loader in loaders] == ["data_train", "data_val"]
    assert [mapper_class(recipe)] == [mapper]
    assert {node._target_.rpartition(".")[2] for node in evaluators(recipe.dataloader.evaluator)} == SCORED[mapper]
    assert {node.dataset_name for node in evaluators(recipe.dataloader.evaluator)} == {"data_val"}
    assert {limit for key in ("limit", "image_ids", "first_classes") for limit in settings_named(recipe, key)} <= {None}
    assert not any(settings_named(recipe, "only_seen_images"))
    assert settings_named(recipe.dataloader.train.mapper, "num_classes") in ([], [4])
    assert recipe.train.new_classes
    if mapper in METRICS:
        assert recipe.train.best_metric == METRICS[mapper]
        inference = recipe.model.inference
        assert {key for key in ("semantic", "panoptic", "instance") if inference[key] is not None} == RESULTS[mapper]
        assert inference.thing_ids == {"panoptic": [0, 2], "instances": [0, 1, 2, 3], "semantic": []}[kind]
    changed = [line.partition(":")[0] for line in changed_settings(recipe_named(name), recipe)]
    assert [key for key in changed if not key.startswith(MAY_CHANGE)] == []


def test_what_scores_many_objects_still_does():
    recipe = filled("mask2former_focalnet_mini_nuclei", "panoptic")
    assert settings_named(recipe.dataloader.evaluator, "max_dets") == [200]
    assert recipe.model.inference.instance.top_k == 200


# At least so many tensors of a model have rows for classes.
CHANGED = {"dino": 3, "atss": 2, "sparse": 6, "mask": 4, "cascade": 8, "mask2former": 2, "upernet": 4, "classifier": 2}
FAMILIES = {
    "dino_focalnet_mini_quickstart": "instances",
    "atss_focalnet_mini_coco": "instances",
    "sparse_rcnn_focalnet_mini_coco": "instances",
    "mask_rcnn_focalnet_mini_coco": "instances",
    "cascade_mask_rcnn_focalnet_mini_coco": "instances",
    "mask2former_focalnet_mini_quickstart": "panoptic",
    "upernet_focalnet_mini_ade20k": "semantic",
    "classifier_focalnet_mini_folder": "classification",
}


@pytest.mark.parametrize(("name", "kind"), FAMILIES.items())
def test_the_model_counts_the_classes_of_the_data(name, kind):
    """Heads, criteria, label tables and all else that has rows for classes: no row of the recipe's own list is left."""
    own = recipe_named(name).model.num_classes
    recipe = filled(name, kind)
    with torch.device("meta"):
        model, before = build(recipe.model, "model"), build(load_recipe(name).model, "model")
    counts = {key: part.num_classes for key, part in model.named_modules() if hasattr(part, "num_classes")}
    assert set(counts.values()) == {4}
    changed = {
        key: (tuple(value.shape), tuple(model.state_dict()[key].shape))
        for key, value in before.state_dict().items()
        if value.shape != model.state_dict()[key].shape
    }
    for key, (old, new) in changed.items():
        rows = 4 if "bbox_pred" in key else 1  # a box for each class
        assert new == (old[0] - rows * (own - 4), *old[1:]), key
    assert len(changed) >= CHANGED[name.split("_")[0]]
    assert any("denoising" in key for key in changed) == name.startswith("dino")


def test_an_unknown_mapper_has_no_use():
    assert uses_of(None) == uses_of(dict) == ()
    assert uses_of(type("Mine", (DetectionMapper,), {})) == uses_of(DetectionMapper)

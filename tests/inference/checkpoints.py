"""Checkpoints of mini models as runs write them."""

from pathlib import Path

import torch
from detectron2.config import instantiate
from omegaconf import DictConfig

from focalnet_d2.checkpoint import checkpoint_metadata, save_checkpoint
from focalnet_d2.config.lazy import load_recipe, recipe_to_yaml
from focalnet_d2.data.class_map import class_map

RECIPES = {
    "dino": "dino_focalnet_mini_quickstart",
    "mask2former": "mask2former_focalnet_mini_quickstart",
    "mask_rcnn": "mask_rcnn_focalnet_mini_coco",
    "upernet": "upernet_focalnet_mini_ade20k",
    "classifier": "classifier_focalnet_mini_folder",
}


def small_recipe(kind: str) -> DictConfig:
    """A mini recipe whose test images have 64 pixels."""
    recipe = load_recipe(RECIPES[kind])
    for node in recipe.dataloader.test.mapper.get("augmentations", ()):
        if "short_edge_length" in node:
            node.short_edge_length, node.max_size = 64, 96
    return recipe


def write(path: Path, recipe: DictConfig, /, **changes) -> Path:
    """A checkpoint as a run writes it, with random weights and classes with ids of their own."""
    torch.manual_seed(0)
    model = instantiate(recipe.model)
    ids = [1000 - 3 * index for index in range(model.num_classes)]
    classes = class_map(ids, [f"name {key}" for key in ids])
    metadata = {**checkpoint_metadata(model), "classes": classes.to_plain()}
    content = {"model": model.state_dict(), "recipe": recipe_to_yaml(recipe), "metadata": metadata, "best": None}
    save_checkpoint(path, content | changes)
    return path

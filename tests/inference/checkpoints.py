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
    "cascade": "cascade_mask_rcnn_focalnet_mini_coco",
    "atss": "atss_focalnet_mini_coco",
    "sparse_rcnn": "sparse_rcnn_focalnet_mini_coco",
    "upernet": "upernet_focalnet_mini_ade20k",
    "classifier": "classifier_focalnet_mini_folder",
}


def small_recipe(kind: str) -> DictConfig:
    """A mini recipe whose test images have 64 pixels, and whose model finds objects without a training."""
    recipe = load_recipe(RECIPES[kind])
    if kind in ("mask_rcnn", "cascade"):
        recipe.model.proposal_generator.post_nms_topk = (20, 20)
        heads = recipe.model.roi_heads.box_predictor
        for predictor in heads if kind == "cascade" else [heads]:
            predictor.test_score_thresh, predictor.test_topk_per_image = 0.0, 10
    elif kind == "atss":
        recipe.model.score_threshold = 0.0
    for node in recipe.dataloader.test.mapper.get("augmentations", ()):
        if "short_edge_length" in node:
            node.short_edge_length, node.max_size = 64, 96
    return recipe


def write(path: Path, recipe: DictConfig, /, **changes) -> Path:
    """A checkpoint as a run writes it, with random weights and classes with ids of their own.

    Random layers that move boxes move them out of the image, six times as far in each stage of Sparse R-CNN, and with
    them every rounding: here they move them less, as trained ones do.
    """
    torch.manual_seed(0)
    model = instantiate(recipe.model)
    for name, parameter in model.named_parameters():
        if name.endswith("fc_reg.weight"):
            parameter.data.mul_(0.01)
    ids = [1000 - 3 * index for index in range(model.num_classes)]
    classes = class_map(ids, [f"name {key}" for key in ids])
    metadata = {**checkpoint_metadata(model), "classes": classes.to_plain()}
    content = {"model": model.state_dict(), "recipe": recipe_to_yaml(recipe), "metadata": metadata, "best": None}
    save_checkpoint(path, content | changes)
    return path

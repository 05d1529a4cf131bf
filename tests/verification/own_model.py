"""A model of somebody else's own, with a recipe in YAML: a classifier of mean colors that nobody can export."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnet_d2.config.lazy import load_recipe, recipe_to_yaml
from focalnet_d2.modeling.base import PIXEL_MEAN, PIXEL_STD, ImageBatch, ImageModel, ImageSizes


class MeanColorClassifier(ImageModel):
    """(B, 3, H, W) -> K scores of the mean color."""

    tasks = ("classification",)

    def __init__(self, num_classes: int):
        super().__init__(num_classes, pixel_mean=PIXEL_MEAN, pixel_std=PIXEL_STD)
        self.head = nn.Linear(3, num_classes)

    def prepare_targets(self, batched_inputs: Sequence[Mapping[str, Any]], images: ImageBatch) -> Tensor:
        return torch.tensor([one["class_id"] for one in batched_inputs], device=self.device)

    def predict(self, images: ImageBatch, targets: Any = None) -> Tensor:
        return self.head(F.dropout(images.tensor.mean((2, 3)), 0.1, self.training))

    def losses(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"loss_class": F.cross_entropy(outputs, targets)}

    def postprocess(self, outputs: Tensor, sizes: ImageSizes) -> list[dict[str, Any]]:
        return [{"scores": one} for one in outputs]


def write_own_recipe(path: Path) -> Path:
    """Writes a recipe of it."""
    recipe = load_recipe("classifier_focalnet_mini_folder")
    recipe.model = {"_target_": f"{__name__}.MeanColorClassifier", "num_classes": 3}
    recipe.train.backbone_only = False
    path.write_text(recipe_to_yaml(recipe), encoding="utf-8")
    return path

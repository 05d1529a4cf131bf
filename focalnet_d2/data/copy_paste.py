"""Simple Copy-Paste: objects of another image of the data set are pasted with their masks.

Source: arXiv:2012.07177. Both images go through the whole augmentation first. Then a random subset of the objects of
the second one is pasted, without blending, which the paper found to change nothing. What a pasted object covers leaves
the masks below, boxes are drawn anew, and objects that are hidden are gone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .mappers import BoxAndMaskMapper, DetectionMapper, InstanceMapper, PanopticMapper
from .mappers.base import mask_targets

SETTING = "dataloader.train.copy_paste"


class CopyPaste:
    """Draws whether and from which image objects are pasted, and pastes them.

    All random numbers come from numpy's global generator.

    Args:
        mapper: of the training.
        probability: that objects are pasted into an image.
        factors: (N,) how often each image is drawn, in relation to others; None: all alike.

    Raises:
        ValueError: no such probability, or the mapper makes no objects.
    """

    def __init__(self, mapper: Callable[[dict], dict], probability: float, factors: np.ndarray | None = None):
        if not 0 <= probability <= 1:
            raise ValueError(f"{SETTING}={probability} must be a probability from 0 to 1.")
        self.probability = probability
        self._ends = None if factors is None else np.cumsum(factors)
        self.boxes_only = isinstance(mapper, DetectionMapper)
        if isinstance(mapper, DetectionMapper):
            augmentations, image_format = mapper.augmentations.augs, mapper.image_format
            mapper = BoxAndMaskMapper(mapper.is_train, augmentations=augmentations, image_format=image_format)
        elif not isinstance(mapper, BoxAndMaskMapper | InstanceMapper | PanopticMapper):
            raise ValueError(
                f"{SETTING} pastes objects, and the {type(mapper).__name__} of this recipe makes none: leave it off."
            )
        self.mapper = mapper

    def draw_source(self, size: int) -> int | None:
        """The place of the image, of `size` ones, whose objects are pasted; None: nothing is."""
        if np.random.random() >= self.probability:
            return None
        if self._ends is None:
            return int(np.random.randint(size))
        return int(np.searchsorted(self._ends, np.random.random() * self._ends[-1], side="right").clip(max=size - 1))

    def draw_objects(self, record: Mapping[str, Any]) -> tuple[Tensor, Tensor, list[int]]:
        """Image (C, h, w), masks (P, h, w) and classes of a random subset of the objects of an image; P may be 0."""
        sample = self.mapper(dict(record))
        instances = sample["instances"]
        masks, classes = instances.gt_masks.tensor, instances.gt_classes
        stuff = [one["category_id"] for one in record.get("segments_info", ()) if not one.get("isthing", True)]
        usable = masks.flatten(1).any(1) & ~torch.isin(classes, torch.tensor(stuff, dtype=classes.dtype))
        places = usable.nonzero()[:, 0].numpy()
        count = np.random.randint(1, len(places) + 1) if len(places) else 0
        chosen = np.sort(np.random.permutation(places)[:count])
        return sample["image"], masks[chosen], classes[chosen].tolist()

    def paste(self, record: dict, objects: tuple[Tensor, Tensor, list[int]]) -> dict:
        """Maps an image to (C, H, W) and pastes objects into it, from an image of any size at a random place.

        Args:
            objects: image (C, h, w), masks (P, h, w) and P classes, of `draw_objects`.
        """
        sample = self.mapper(record)
        placed, masks = _placed(*objects[:2], sample["image"].shape[-2:])
        sample["image"] = torch.where(masks.any(0), placed, sample["image"])
        before, below = sample["instances"].gt_boxes.tensor, sample["instances"].gt_masks.tensor
        left = below & ~masks.any(0)
        kept = left.flatten(1).any(1) | ~below.flatten(1).any(1)  # what was empty before is as the mapper wants it
        shown = masks.flatten(1).any(1)
        classes = [*sample["instances"].gt_classes[kept].tolist(), *np.array(objects[2], int)[shown.numpy()].tolist()]
        sample["instances"] = mask_targets(torch.cat([left[kept], masks[shown]]).numpy(), classes)
        boxes, hollow = sample["instances"].gt_boxes.tensor[: int(kept.sum())], ~below[kept].flatten(1).any(1)
        boxes[hollow] = before[kept][hollow]  # of what is too small to have a pixel
        if self.boxes_only:
            sample["instances"].remove("gt_masks")
        return sample


def _placed(image: Tensor, masks: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(C, h, w) and (P, h, w) at a random place of an image of the size (H, W): (C, H, W) and (P, H, W)."""
    here, there = [], []
    for old, new in zip(image.shape[-2:], size, strict=True):
        shift = np.random.randint(min(0, new - old), max(0, new - old) + 1)
        there.append(slice(max(shift, 0), max(shift, 0) + min(old, new)))
        here.append(slice(max(-shift, 0), max(-shift, 0) + min(old, new)))
    moved = []
    for values in (image, masks):
        moved.append(values.new_zeros((len(values), *size)))
        moved[-1][:, there[0], there[1]] = values[:, here[0], here[1]]
    return moved[0], moved[1]

"""Detections of a two-stage detector: boxes, and the mask of each within its box.

Shapes: D detections, N of them that there are, M x M cells of a mask, H x W pixels of the result.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..result import Sizes
from .boxes import clip_boxes, to_output_size


def decode(outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any], sizes: Sizes) -> dict[str, np.ndarray]:
    """Detections of one image: `boxes`, `scores`, `class_ids` and `masks`, best first.

    Args:
        outputs: `boxes` (D, 4) XYXY pixels of the input, `scores` (D,), 0 where there is no detection, `class_ids` (D,)
            and `masks` (D, M, M) probabilities.
        settings: `mask_threshold` of these probabilities.
        sizes: of the image.
    """
    boxes = clip_boxes(to_output_size(outputs["boxes"], sizes), sizes.output)
    kept = (outputs["scores"] > 0) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes = boxes[kept]
    return {
        "boxes": boxes,
        "scores": outputs["scores"][kept],
        "class_ids": outputs["class_ids"][kept].astype(np.int64),
        "masks": paste_masks(outputs["masks"][kept], boxes, sizes.output, settings["mask_threshold"]),
    }


def paste_masks(masks: np.ndarray, boxes: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Masks in their boxes, resized bilinearly: what Detectron2's `paste_masks_in_image` gives.

    Args:
        masks: (N, M, M) float32 probabilities.
        boxes: (N, 4) float32 XYXY pixels, none of them empty.
        size: (H, W).
        threshold: least probability inside.

    Returns:
        (N, H, W) bool.
    """
    pasted = np.zeros((len(masks), *size), bool)
    for image, mask, (left, top, right, bottom) in zip(pasted, masks, boxes, strict=True):
        rows, columns = _pixels(top, bottom, size[0]), _pixels(left, right, size[1])
        down = interpolation(rows, top, bottom, mask.shape[0])  # (h, M)
        across = interpolation(columns, left, right, mask.shape[1])  # (w, M)
        image[rows.start : rows.stop, columns.start : columns.stop] = down @ mask @ across.T >= threshold
    return pasted


def interpolation(pixels: range, start: np.float32, end: np.float32, cells: int) -> np.ndarray:
    """The share of each cell in the value at the middle of each pixel; outside of all cells there are zeros.

    Args:
        pixels: P of them along one axis.
        start, end: where the first cell begins and the last one ends.
        cells: M of equal length.

    Returns:
        (P, M) float32.
    """
    middles = np.arange(pixels.start, pixels.stop, dtype=np.float32) + np.float32(0.5)
    places = ((middles - start) / (end - start) * cells) - np.float32(0.5)  # 0 is the middle of the first cell
    distances = np.abs(places[:, None] - np.arange(cells, dtype=np.float32))
    return np.maximum(1 - distances, 0)


def _pixels(start: np.float32, end: np.float32, length: int) -> range:
    """The pixels that lie between two places, even in part, and one more on both sides."""
    return range(max(int(np.floor(start)) - 1, 0), min(int(np.ceil(end)) + 1, length))

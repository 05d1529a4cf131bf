"""A picture of a prediction: its segments, or else its masks and boxes, with readable labels."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from focalnet_d2.reports.visualization import class_color, draw_detections, draw_panoptic

if TYPE_CHECKING:  # prediction.py imports this module
    from .prediction import Prediction

_OPACITY = 0.45  # of the color that a mask is filled with


def draw_prediction(prediction: "Prediction") -> np.ndarray:
    """(h, w, 3) uint8 RGB: the panoptic map, else the objects, else the semantic map; of a classifier the image."""
    names = prediction.classes.names
    if prediction.panoptic_map is not None:
        segments = [{"id": one.id, "category_id": one.class_id} for one in prediction.segments]
        return draw_panoptic(prediction.image, prediction.panoptic_map, segments, names)
    if prediction.boxes is not None:
        return draw_detections(_with_masks(prediction), _instances(prediction), names, score_threshold=0.0)
    if prediction.semantic_map is not None:
        present = np.unique(prediction.semantic_map).tolist()
        segments = [{"id": index + 1, "category_id": index} for index in present]
        return draw_panoptic(prediction.image, prediction.semantic_map + 1, segments, names)
    return prediction.image


def _instances(prediction: "Prediction") -> Instances:
    return Instances(
        prediction.size,
        pred_boxes=Boxes(torch.from_numpy(prediction.boxes)),
        scores=torch.from_numpy(prediction.scores),
        pred_classes=torch.from_numpy(prediction.class_ids),
    )


def _with_masks(prediction: "Prediction") -> np.ndarray:
    """The image with every mask filled in the color of its class, the best scores on top."""
    if prediction.masks is None:
        return prediction.image
    pixels = prediction.image.astype(np.float32)
    for index in reversed(range(len(prediction.masks))):
        inside = np.asarray(prediction.masks[index])
        color = np.asarray(class_color(int(prediction.class_ids[index])), np.float32)
        pixels[inside] = (1 - _OPACITY) * pixels[inside] + _OPACITY * color
    return pixels.round().astype(np.uint8)

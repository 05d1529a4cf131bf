"""Pictures of samples of a training: their targets, and what the model gives for them, drawn as `predict` draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances
from PIL import Image, ImageOps

from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.image_sources import InputImage
from focalnet_d2.data.result_documents import Segment
from focalnet_d2.inference.picture_reduction import reduced
from focalnet_d2.inference.prediction import Prediction, read_result
from focalnet_d2.inference.prediction_picture import draw_prediction
from focalnet_d2.reports.visualization import comparison_grid

SIDE = 480  # pixels of the longer side of a picture
COLUMNS = 4


class TrainingPictures:
    """Draws the samples of a run; see `engine.pictures.Pictures`."""

    def targets(self, sample: Mapping[str, Any], classes: ClassMap) -> np.ndarray:
        """The image (H, W, 3) of a sample with its boxes, masks, segments, class of each pixel, or class."""
        return _drawn(Prediction(sample["image"], classes, **_found(sample, classes)))

    def results(
        self, sample: Mapping[str, Any], result: Mapping[str, Any], classes: ClassMap, threshold: float
    ) -> np.ndarray:
        """The image (H, W, 3) of a sample, at the size of the file, with the result of a model."""
        image = Image.fromarray(sample["image"])
        if "height" in sample and "class_id" not in sample:
            image = image.resize((sample["width"], sample["height"]))
        found = InputImage(np.asarray(image), sample["file_name"])
        return _drawn(read_result(result, found, classes=classes, threshold=threshold))

    def write(
        self, path: Path, groups: Sequence[Sequence[np.ndarray]], titles: Sequence[str], captions: Sequence[str]
    ) -> None:
        """A sheet of all groups of pictures (h, w, 3), up to `COLUMNS` pictures beside each other."""
        columns = COLUMNS // len(titles)
        comparison_grid(groups, path, titles=titles, captions=captions, groups_per_line=columns)


def _drawn(prediction: Prediction) -> np.ndarray:
    """(h, w, 3) uint8 with a longer side of `SIDE` pixels; it is drawn at about that size, so text stays readable."""
    picture = Image.fromarray(draw_prediction(reduced(prediction, SIDE)))
    return np.asarray(ImageOps.contain(picture, (SIDE, SIDE)))


def _found(sample: Mapping[str, Any], classes: ClassMap) -> dict[str, Any]:
    """The targets of a sample as results of which no score is known."""
    if "sem_seg" in sample:
        labels = sample["sem_seg"].numpy()  # (H, W)
        present = [label for label in np.unique(labels).tolist() if 0 <= label < len(classes)]
        return _regions([(label, labels == label) for label in present], labels.shape, classes)
    if "instances" in sample:
        return _objects(sample["instances"], classes)
    return {"class_ids": np.array([sample["class_id"]])} if "class_id" in sample else {}


def _objects(objects: Instances, classes: ClassMap) -> dict[str, Any]:
    """Objects with boxes and perhaps masks; where there is stuff among the classes, the segments of an image."""
    has_masks = objects.has("gt_masks")
    if has_masks and not all(one.is_thing for one in classes.classes):
        masks = objects.gt_masks.tensor.numpy()  # (M, H, W)
        return _regions(list(zip(objects.gt_classes.tolist(), masks)), objects.image_size, classes)
    objects = objects[objects.gt_boxes.nonempty()]
    found = {"boxes": objects.gt_boxes.tensor.numpy(), "class_ids": objects.gt_classes.numpy()}
    return found | ({"masks": objects.gt_masks.tensor.numpy()} if has_masks else {})


def _regions(regions: Sequence[tuple[int, np.ndarray]], size: tuple[int, int], classes: ClassMap) -> dict[str, Any]:
    """A panoptic map of classes and their masks (H, W)."""
    ids = np.zeros(size, np.int32)
    for number, (_, mask) in enumerate(regions, 1):
        ids[mask] = number
    segments = [Segment(number, label, classes.classes[label].is_thing) for number, (label, _) in enumerate(regions, 1)]
    return {"panoptic_map": ids, "segments": tuple(segments)}

"""Box and mask average precision for any data set with a COCO file of its instances.

Differs from Detectron2's `COCOEvaluator`: no predictions score 0 instead of nan or nothing, average recall, per-class
numbers and counts are part of the results, wrong predictions are named instead of asserted, an image that several ranks
processed counts once, panoptic models are scored by their things, and faster packages can do the scoring. With the
reference, pycocotools, the numbers are equal to the last bit.
"""

import itertools
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import torch
from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog
from detectron2.data.datasets.coco import convert_to_coco_json
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from tabulate import tabulate
from torch import Tensor

from focalnet_d2.kernels import run_lengths
from focalnet_d2.utils.atomic_write import atomic_open

from .average_precision import average_precision, check_max_dets, summary_names, write_counts
from .coco_backends import ClassMatches, class_matches, find_backend
from .coco_files import (
    SHAPE_KEYS,
    Detections,
    GroundTruth,
    ImageId,
    check_detections,
    ground_truth_of,
    read_ground_truth,
)
from .panoptic_instances import instances_from_panoptic

SUBMISSION = "coco_instances_results.json"
_MASKS_AT_ONCE, _RESULTS_AT_ONCE = 16, 20_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageDetections:
    """Predicted objects of one image: category numbers (N,), scores (N,), XYWH boxes (N, 4), N compressed RLE dicts."""

    image_id: ImageId
    categories: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None
    masks: list[dict[str, Any]] | None


class DetectionEvaluator(DatasetEvaluator):
    """AP and AR in percent; nan where the annotations do not define a number (no large objects, say).

    Args:
        dataset_name: registered name, or a list with one. Its metadata have a function that gives the instances
            (`instances_source`) or name their file (`json_file`), and say by `thing_dataset_id_to_contiguous_id` which
            class of the model is which category. Of a panoptic data set without either the things are scored.
        tasks: "bbox", "segm" or both; masks are needed for "segm" only, boxes for "bbox" only.
        output_dir: receives the predictions in the format of the COCO server and the counts; None writes nothing.
        max_dets: detections per image and class that count.
        only_seen_images: score only images that were processed, for a test loader with a part of the data set;
            otherwise an image that was not processed counts as one without predictions.
        things_only: leave out predictions of classes that are no category of the file, for a panoptic model, which
            predicts stuff as well; otherwise they are an error.
        backend: "pycocotools" (the reference), "hotcoco", "faster-coco-eval" or "auto", the fastest one installed.

    `truth` are the annotations. `evaluate` returns `{task: {AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR<max_dets>,
    ARs, ARm, ARl, AP-<class>}}` on the main process and `{}` elsewhere, and everywhere for a data set without
    annotations (test-dev). Afterwards `counts` is `{task: {class: {"tp", "fp", "fn"}}}` at IoU 0.5.
    """

    def __init__(
        self,
        dataset_name: str | Sequence[str],
        *,
        tasks: Sequence[str] = ("bbox",),
        output_dir: str | Path | None = None,
        max_dets: int = 100,
        only_seen_images: bool = False,
        things_only: bool = False,
        backend: str = "pycocotools",
    ) -> None:
        names = [dataset_name] if isinstance(dataset_name, str) else list(dataset_name)
        if len(names) != 1:
            raise ValueError(f"DetectionEvaluator scores one data set, it was given {names}: evaluate them one by one.")
        if not tasks or set(tasks) - SHAPE_KEYS.keys():
            raise ValueError(f"tasks={list(tasks)} is not one or both of {', '.join(SHAPE_KEYS)}.")
        check_max_dets(max_dets)
        self.dataset_name = names[0]
        self.tasks = tuple(tasks)
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.max_dets = max_dets
        self.only_seen_images = only_seen_images
        self.things_only = things_only
        self.backend = find_backend(backend)
        metadata = MetadataCatalog.get(self.dataset_name)
        self.truth = _ground_truth(metadata, self.output_dir)
        for task in self.tasks:
            self.truth.require(task)
        self._image_numbers = {image: number for number, image in enumerate(self.truth.image_ids, 1)}
        self._category_numbers = _category_numbers(metadata, self.truth)
        self.reset()

    def reset(self) -> None:
        """Forgets all predictions."""
        self._predictions: list[ImageDetections] = []
        self.counts: dict[str, dict[str, dict[str, int]]] = {}

    def metric_names(self) -> list[str]:
        """All that `evaluate` may give, as `bbox/AP`."""
        names = (*summary_names(self.max_dets), *(f"AP-{name}" for name in self.truth.class_names))
        return [f"{task}/{name}" for task in self.tasks for name in names]

    def check_images(self, images: Iterable[Mapping[str, Any]]) -> None:
        """Raises ValueError if the annotations lack one of these images, by its `image_id`."""
        for image in images:
            if image["image_id"] not in self._image_numbers:
                raise ValueError(
                    f"{self.truth.source} does not list the image {image['image_id']!r} of {self.dataset_name}, so "
                    "its boxes and masks cannot be scored: use files of the same images."
                )

    def process(self, inputs: Iterable[dict[str, Any]], outputs: Iterable[dict[str, Any]]) -> None:
        """Keeps the predictions of a batch; of masks only their outlines, so memory does not grow with the image."""
        for image, output in zip(inputs, outputs):
            if "instances" not in output:
                raise ValueError("The model returned no 'instances': switch instance inference on to measure AP.")
            if image["image_id"] not in self._image_numbers:
                raise ValueError(f"A prediction is for image {image['image_id']!r}, which {self.dataset_name} lacks.")
            self._predictions.append(self._read(image["image_id"], output["instances"]))

    def _read(self, image_id: ImageId, instances: Instances) -> ImageDetections:
        """Checked arrays on the CPU in place of what the model returned."""
        if "segm" in self.tasks and not instances.has("pred_masks"):
            raise ValueError("The model's instances have no pred_masks, which the task 'segm' needs.")
        classes = instances.pred_classes.tolist()
        known = [index for index, name in enumerate(classes) if name in self._category_numbers]
        if len(known) < len(classes):
            if not self.things_only:
                raise ValueError(self._wrong_class(min(set(classes) - self._category_numbers.keys())))
            instances = instances[torch.tensor(known, dtype=torch.int64, device=instances.pred_classes.device)]
        return ImageDetections(
            image_id=image_id,
            categories=np.array([self._category_numbers[classes[index]] for index in known], dtype=np.int64),
            scores=instances.scores.cpu().double().numpy(),
            boxes=_boxes_xywh(instances.pred_boxes.tensor) if "bbox" in self.tasks else None,
            masks=_encode(instances.pred_masks) if "segm" in self.tasks else None,
        )

    def _wrong_class(self, name: int) -> str:
        return (
            f"A prediction has class {name}, which is none of the {len(self._category_numbers)} classes of "
            f"{self.dataset_name}: either the recipe's num_classes does not fit the data set, or the model predicts "
            "stuff as well and things_only=True is missing."
        )

    def evaluate(self, img_ids: Sequence[ImageId] | None = None) -> dict[str, dict[str, float]]:
        """Gather the predictions of all ranks, write them, and score them where there are annotations."""
        gathered = comm.gather(self._predictions, dst=0)
        if not comm.is_main_process():
            return {}
        # A sampler that fills up the last shard gives some images to two ranks: the first one counts.
        by_image = {image.image_id: image for image in reversed(list(itertools.chain.from_iterable(gathered)))}
        detections = self._joined(list(by_image.values()))
        check_detections(detections, self.truth)
        if self.output_dir is not None:
            self._write_submission(detections, self.output_dir / SUBMISSION)
        if self.truth.annotations is None:
            logger.info("%s has no annotations: the predictions are written, not scored.", self.dataset_name)
            return {}
        if not len(detections):
            logger.warning("There is not a single prediction for %s.", self.dataset_name)
        if self.only_seen_images and img_ids is None:
            img_ids = list(by_image)
        truth = self.truth if img_ids is None else self.truth.restricted_to(set(img_ids))
        return {task: self._score(task, truth, detections) for task in self.tasks}

    def class_matches(self, task: str, image_ids: Collection[ImageId]) -> dict[int, ClassMatches]:
        """Which predictions of this process for some images are right at IoU 0.5, by contiguous id of their class."""
        images = {image.image_id: image for image in self._predictions if image.image_id in image_ids}
        truth = self.truth.restricted_to(image_ids)
        found = class_matches(truth, self._joined(list(images.values())), task, max_dets=self.max_dets)
        return {index: found[number - 1] for index, number in self._category_numbers.items()}

    def _joined(self, images: list[ImageDetections]) -> Detections:
        """The predictions of all images as columns."""
        images = sorted(images, key=lambda image: self._image_numbers[image.image_id])
        numbers = [np.full(len(image.scores), self._image_numbers[image.image_id]) for image in images]
        boxes = [np.zeros((0, 4)), *(image.boxes for image in images)] if "bbox" in self.tasks else None
        masks = itertools.chain.from_iterable(image.masks for image in images) if "segm" in self.tasks else None
        return Detections(
            images=np.concatenate([np.zeros(0, dtype=np.int64), *numbers]),
            categories=np.concatenate([np.zeros(0, dtype=np.int64), *(image.categories for image in images)]),
            scores=np.concatenate([np.zeros(0), *(image.scores for image in images)]),
            boxes=None if boxes is None else np.concatenate(boxes),
            masks=None if masks is None else list(masks),
        )

    def _write_submission(self, detections: Detections, path: Path) -> None:
        """Results with the ids of the annotation file, as one list; made and written some at a time."""
        with atomic_open(path, sync=False) as file:
            file.write(b"[")
            for start in range(0, len(detections), _RESULTS_AT_ONCE):
                results = self._results(detections[start : start + _RESULTS_AT_ONCE])
                file.write((", " if start else "").encode() + json.dumps(results)[1:-1].encode())
            file.write(b"]")

    def _results(self, detections: Detections) -> list[dict[str, Any]]:
        merged: list[dict[str, Any]] = [{} for _ in range(len(detections))]
        for task in self.tasks:
            for result, part in zip(merged, detections.as_results(task)):
                part["image_id"] = self.truth.image_ids[part["image_id"] - 1]
                part["category_id"] = self.truth.category_ids[part["category_id"] - 1]
                result |= part
        return merged

    def _score(self, task: str, truth: GroundTruth, detections: Detections) -> dict[str, float]:
        scores = average_precision(truth, detections, task, backend=self.backend, max_dets=self.max_dets)
        self.counts[task] = scores.counts
        if self.output_dir is not None:
            write_counts(self.output_dir, task, scores.counts, self.max_dets)
        logger.info("%s AP of each class, by %s:\n%s", task, self.backend.package, _class_table(scores.per_class))
        return scores.in_percent()


def _ground_truth(metadata: Metadata, folder: Path | None) -> GroundTruth:
    """The annotations of a data set: what its source gives, of its instances file, or what panoptic labels imply."""
    if (source := metadata.get("instances_source")) is not None:
        return ground_truth_of(source())
    if metadata.get("panoptic_json") is None or Path(metadata.get("json_file") or "").is_file():
        return read_ground_truth(_annotation_file(metadata, folder))
    return instances_from_panoptic(DatasetCatalog.get(metadata.name), metadata)


def _annotation_file(metadata: Metadata, folder: Path | None) -> str:
    """The COCO file of a data set; made from its dicts, as Detectron2 does, where it has none."""
    if metadata.get("json_file") is None:
        if folder is None:
            raise ValueError(f"{metadata.name} has no json_file, so its annotations are converted: give output_dir.")
        path = str(folder / f"{metadata.name}_coco_format.json")
        convert_to_coco_json(metadata.name, path)
        return path
    return metadata.json_file


def _category_numbers(metadata: Metadata, truth: GroundTruth) -> dict[int, int]:
    """Class of the model -> number of the category in the annotation file.

    Raises:
        ValueError: a class whose category the file lacks.
    """
    mapping = metadata.get("thing_dataset_id_to_contiguous_id")
    if mapping is None:  # a name that has not been loaded yet: Detectron2's own rule
        mapping = {category: index for index, category in enumerate(truth.category_ids)}
    numbers = {category: number for number, category in enumerate(truth.category_ids, 1)}
    if missing := sorted(mapping.keys() - numbers.keys()):
        raise ValueError(
            f"The metadata of {metadata.name} have a class for category {missing[0]}, which {truth.source} lacks: it "
            "is not the annotation file of this data set."
        )
    return {index: numbers[category] for category, index in mapping.items()}


def _boxes_xywh(boxes_xyxy: Tensor) -> np.ndarray:
    """(N, 4) corners -> (N, 4) XYWH, float64; subtracted in the precision of the boxes, as Detectron2 does."""
    boxes = boxes_xyxy.cpu().numpy()
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)


def _encode(masks: Any) -> list[dict[str, Any]]:
    """N masks, a (N, H, W) tensor or what gives one by `tensor` or item by item -> N compressed RLE dicts.

    They are made some at a time, and share one `size`.
    """
    masks = torch.stack(masks) if isinstance(masks, list) and masks else masks
    encoded: list[dict[str, Any]] = []
    for start in range(0, len(masks), _MASKS_AT_ONCE):
        part = masks[start : start + _MASKS_AT_ONCE]
        dense = torch.as_tensor(getattr(part, "tensor", part)).cpu()  # (n, H, W)
        size = list(dense.shape[1:])
        encoded += [{"size": size, "counts": text} for text in _run_lengths(dense)]
    return encoded


def _run_lengths(masks: Tensor) -> list[str]:
    """(N, H, W) -> N texts of compressed run lengths."""
    if masks.dtype == torch.bool and masks.numel() and run_lengths.LIBRARY.load() is not None:
        return run_lengths.encode_masks(masks)
    columns_first = (np.asfortranarray(mask.to(torch.uint8).numpy()) for mask in masks)
    return [pycocotools.mask.encode(mask)["counts"].decode("ascii") for mask in columns_first]


def _class_table(per_class: dict[str, float], columns: int = 3) -> str:
    cells = [(name, f"{value * 100:.3f}") for name, value in per_class.items()]
    rows = [list(itertools.chain(*cells[start : start + columns])) for start in range(0, len(cells), columns)]
    return tabulate(
        rows, headers=["class", "AP"] * min(columns, max(len(cells), 1)), tablefmt="pipe", disable_numparse=True
    )

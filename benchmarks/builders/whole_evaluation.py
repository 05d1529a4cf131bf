"""A whole evaluation of boxes and masks: CPU time of the scoring, and the peak memory of the process.

Images have about 7 objects and 100 detections, drawn from a pool of ellipses: some are objects of their image, the
others are not. Time is that of `evaluate`, with the files that it writes; memory is all that the process has had, the
imports among it.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pycocotools.mask
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances
from torch import Tensor

from benchmarks.builders.average_precision import CLASSES, DETECTIONS, OBJECTS, annotate, make_object, truth_of
from benchmarks.measuring import peak_memory, restart_peak_memory
from benchmarks.work import Processes
from focalnet_d2.evaluation.detection import DetectionEvaluator

POOL = 200  # different objects
LIMITS = {"seconds": 10, "bytes": 1.5e9}


class Pool(NamedTuple):
    """Objects in COCO's format, and the same as tensors.

    Attributes:
        masks: (POOL, H, W) bool.
        boxes: (POOL, 4), XYXY.
        classes: (POOL,), from 0.
    """

    annotations: list[dict]
    masks: Tensor
    boxes: Tensor
    classes: Tensor


def make_pool(rng: np.random.Generator) -> Pool:
    """Objects of the classes in turn."""
    annotations = [annotate((make_object(rng)[0], number % CLASSES + 1)) for number in range(POOL)]
    masks = np.stack([pycocotools.mask.decode(one["segmentation"]) for one in annotations]).astype(bool)
    boxes = torch.tensor([one["bbox"] for one in annotations])  # XYWH
    boxes[:, 2:] += boxes[:, :2]
    return Pool(annotations, torch.from_numpy(masks), boxes, torch.arange(POOL) % CLASSES)


def detect(rng: np.random.Generator, objects: np.ndarray, pool: Pool) -> Instances:
    """Detections of an image: two of three of its objects, and other members of the pool."""
    found = objects[rng.random(len(objects)) < 0.67]
    members = np.concatenate([found, rng.integers(0, POOL, DETECTIONS - len(found))])
    scores = np.concatenate([rng.uniform(0.4, 1, len(found)), rng.uniform(0, 0.8, DETECTIONS - len(found))])
    chosen = torch.from_numpy(members)
    return Instances(
        pool.masks.shape[1:],
        pred_boxes=Boxes(pool.boxes[chosen] + torch.from_numpy(rng.normal(size=(DETECTIONS, 1)))),
        pred_masks=pool.masks[chosen],
        scores=torch.from_numpy(scores),
        pred_classes=pool.classes[chosen],
    )


def evaluate(images: int, backend: str) -> dict[str, float]:
    """Seconds and bytes of an evaluation in this process, and the box AP in percent."""
    rng = np.random.default_rng(0)
    pool = make_pool(rng)
    objects = [rng.integers(0, POOL, rng.poisson(OBJECTS)) for _ in range(images)]
    restart_peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        evaluator = make_evaluator(Path(folder), objects, pool, backend)
        for image, members in enumerate(objects, 1):
            evaluator.process([{"image_id": image}], [{"instances": detect(rng, members, pool)}])
        start = time.process_time()
        results = evaluator.evaluate()
        seconds = time.process_time() - start
    return {"seconds": seconds, "bytes": peak_memory(), "AP": round(results["bbox"]["AP"], 3)}


def make_evaluator(folder: Path, objects: list[np.ndarray], pool: Pool, backend: str) -> DetectionEvaluator:
    """The evaluator of a new data set, whose COCO file goes into the folder.

    Args:
        objects: of each image, as places in the pool.
    """
    placed = [(image, member) for image, members in enumerate(objects, 1) for member in members]
    annotations = [
        {**pool.annotations[member], "id": number, "image_id": image, "iscrowd": 0}
        for number, (image, member) in enumerate(placed, 1)
    ]
    path = folder / "truth.json"
    path.write_text(json.dumps(truth_of(len(objects), annotations)), encoding="utf-8")
    name = f"benchmark_{folder.name}"
    contiguous = {number + 1: number for number in range(CLASSES)}
    MetadataCatalog.get(name).set(json_file=str(path), thing_dataset_id_to_contiguous_id=contiguous)
    return DetectionEvaluator(name, tasks=["bbox", "segm"], output_dir=str(folder), backend=backend)


def build(*, images: int, backend: str) -> Processes:
    """The evaluation, once in a process of its own."""
    return Processes({backend: (evaluate, images, backend)}, repeat=False, details={"limits": LIMITS})

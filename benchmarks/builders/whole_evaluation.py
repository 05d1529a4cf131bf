"""A whole evaluation of boxes and masks: CPU time of the scoring, and the peak memory of the process.

Images have about 7 objects of 80 classes and 100 detections, drawn from a pool of ellipses: some are objects of their
image, the others are not. Time is that of `evaluate`, with the files that it writes; memory is all that the process has
had, the imports among it.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances

from benchmarks.builders.average_precision import CLASSES, DETECTIONS, OBJECTS
from benchmarks.measuring import in_new_process, peak_memory, restart_peak_memory
from benchmarks.work import Facts
from focalnet_d2.data.annotations.run_lengths import compressed_rle
from focalnet_d2.evaluation.detection import DetectionEvaluator

POOL = 300  # different masks


def make_pool(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Ellipses (POOL, H, W) bool, and their XYXY boxes (POOL, 4)."""
    rows, columns = np.mgrid[:height, :width]
    sizes = np.exp(rng.uniform(np.log(12), np.log(height / 1.6), (POOL, 2)))
    centers = sizes / 2 + rng.random((POOL, 2)) * ((height, width) - sizes)
    masks = np.stack(
        [
            ((rows - y) / h) ** 2 + ((columns - x) / w) ** 2 <= 0.25
            for (y, x), (h, w) in zip(centers, sizes, strict=True)
        ]
    )
    corners = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)[:, [1, 0, 3, 2]]
    return masks, corners


def write_truth(path: Path, objects: list[np.ndarray], masks: np.ndarray, boxes: np.ndarray) -> None:
    """A COCO file whose images have these members of the pool; the class of one is its number modulo the classes."""
    encoded = [compressed_rle(mask) for mask in masks]
    areas = masks.sum((1, 2)).tolist()
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    annotations = [
        {"image_id": image, "category_id": int(member) % CLASSES + 1, "bbox": sides[member], "iscrowd": 0,
         "area": areas[member], "segmentation": encoded[member]}
        for image, members in enumerate(objects, 1)
        for member in members
    ]  # fmt: skip
    content = {
        "images": [
            {"id": image, "height": masks.shape[1], "width": masks.shape[2]} for image in range(1, len(objects) + 1)
        ],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, 1)],
        "categories": [{"id": number, "name": f"class {number}"} for number in range(1, CLASSES + 1)],
    }
    path.write_text(json.dumps(content), encoding="utf-8")


def detect(rng: np.random.Generator, objects: np.ndarray, masks: torch.Tensor, boxes: torch.Tensor) -> Instances:
    """Detections of an image: two of three of its objects, and other members of the pool."""
    found = objects[rng.random(len(objects)) < 0.67]
    members = np.concatenate([found, rng.integers(0, POOL, DETECTIONS - len(found))])
    scores = np.concatenate([rng.uniform(0.4, 1, len(found)), rng.uniform(0, 0.8, DETECTIONS - len(found))])
    chosen = torch.from_numpy(members)
    moved = boxes[chosen] + torch.from_numpy(rng.normal(size=(DETECTIONS, 1)))
    return Instances(
        masks.shape[1:],
        pred_boxes=Boxes(moved),
        pred_masks=masks[chosen],
        scores=torch.from_numpy(scores),
        pred_classes=chosen % CLASSES,
    )


def evaluate(images: int, size: tuple[int, int], backend: str) -> dict[str, Any]:
    """Seconds and bytes of an evaluation in this process."""
    rng = np.random.default_rng(0)
    masks, boxes = make_pool(rng, *size)
    objects = [rng.integers(0, POOL, rng.poisson(OBJECTS)) for _ in range(images)]
    restart_peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        write_truth(Path(folder, "truth.json"), objects, masks, boxes)
        name = f"benchmark_{Path(folder).name}"
        MetadataCatalog.get(name).set(
            json_file=str(Path(folder, "truth.json")),
            thing_dataset_id_to_contiguous_id={number + 1: number for number in range(CLASSES)},
        )
        evaluator = DetectionEvaluator(name, tasks=["bbox", "segm"], output_dir=folder, backend=backend)
        dense, corners = torch.from_numpy(masks), torch.from_numpy(boxes)
        start = time.process_time()
        for image, members in enumerate(objects, 1):
            evaluator.process([{"image_id": image}], [{"instances": detect(rng, members, dense, corners)}])
        processed = time.process_time()
        results = evaluator.evaluate()
        seconds = time.process_time() - processed
    return {
        "seconds": seconds,
        "process_s": round(processed - start, 2),
        "bytes": peak_memory(),
        "AP": round(results["bbox"]["AP"], 3),
    }


def measure(images: int, size: tuple[int, int], backend: str) -> Iterator[dict]:
    """The row, measured once in a process of its own."""
    found = in_new_process(evaluate, images, size, backend)
    found["range_s"] = [found["seconds"]] * 2
    yield {"forms": {backend: found}, "limits": {"seconds": 10, "bytes": 1.5e9}}


def build(*, images: int, size: tuple[int, int], backend: str) -> Facts:
    """See `measure`."""
    return Facts(partial(measure, images, size, backend))

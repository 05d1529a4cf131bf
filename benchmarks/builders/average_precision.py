"""Box and mask AP: each installed backend beside pycocotools itself, on generated data.

640x480 pixels, 80 classes, about 7 objects (one in a hundred a crowd) and 100 detections an image.
"""

import contextlib
import io
import json
import os

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # of hotcoco, which reads it once
import tempfile
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pycocotools.mask
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.work import Timed
from focalnet_d2.evaluation.average_precision import average_precision, score_results_file
from focalnet_d2.evaluation.coco_backends import BACKENDS, Backend
from focalnet_d2.evaluation.coco_files import SHAPE_KEYS, read_ground_truth, read_results
from focalnet_d2.evaluation.detection import DetectionEvaluator

HEIGHT, WIDTH, CLASSES, OBJECTS, DETECTIONS = 480, 640, 80, 7.5, 100
REFERENCE = "pycocotools, called directly"


class Data:
    """Annotations and results of some images, as files and as dicts; masks are ellipses.

    Args:
        images: their number.

    Attributes:
        folder: with `truth.json` and, for each IoU type, its results, until the process ends.
    """

    def __init__(self, images: int) -> None:
        rng = np.random.default_rng(0)
        annotations, results = [], []
        for image in range(1, images + 1):
            objects = [make_object(rng) for _ in range(rng.poisson(OBJECTS))]
            annotations += [annotation | {"image_id": image} for annotation in map(annotate, objects)]
            for _ in range(DETECTIONS):
                near = objects and rng.random() < 0.4
                detection = disturb(rng, *objects[rng.integers(len(objects))]) if near else make_object(rng)
                results.append(annotate(detection) | {"image_id": image, "score": float(np.float32(rng.random()))})
        for number, annotation in enumerate(annotations, 1):
            annotation |= {"id": number, "iscrowd": int(rng.random() < 0.01)}
        self.truth = truth_of(images, annotations)
        keys = ("image_id", "category_id", "score")
        self.results = {
            iou_type: [{key: result[key] for key in (*keys, shape)} for result in results]
            for iou_type, shape in SHAPE_KEYS.items()
        }
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        for name, content in (("truth", self.truth), *self.results.items()):
            (self.folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def truth_of(images: int, annotations: list[dict]) -> dict:
    """The content of a COCO file whose images are numbered from 1."""
    return {
        "images": [{"id": number, "height": HEIGHT, "width": WIDTH} for number in range(1, images + 1)],
        "categories": [{"id": number, "name": f"class {number}"} for number in range(1, CLASSES + 1)],
        "annotations": annotations,
    }


def make_object(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """XYWH box and class."""
    size = np.exp(rng.uniform(np.log(12), np.log(300), 2))
    return np.concatenate([rng.random(2) * ((WIDTH, HEIGHT) - size), size]), int(rng.integers(CLASSES)) + 1


def disturb(rng: np.random.Generator, box: np.ndarray, category: int) -> tuple[np.ndarray, int]:
    """A detection of an object: moved and resized, one in five of another class."""
    amount = rng.uniform(0.02, 0.25)
    corner = box[:2] + box[2:] * rng.normal(size=2) * amount
    moved = np.concatenate([np.clip(corner, 0, (WIDTH - 8, HEIGHT - 8)), box[2:] * np.exp(rng.normal(size=2) * amount)])
    return moved, category if rng.random() > 0.2 else int(rng.integers(CLASSES)) + 1


def annotate(made: tuple[np.ndarray, int]) -> dict:
    """Box, ellipse and area in COCO's format."""
    (x, y, width, height), category = made
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    left, top, right, bottom = int(x), int(y), min(int(x + width) + 1, WIDTH), min(int(y + height) + 1, HEIGHT)
    rows, columns = np.mgrid[top:bottom, left:right]
    inside = ((columns - x) / width - 0.5) ** 2 + ((rows - y) / height - 0.5) ** 2 <= 0.25
    mask[top:bottom, left:right] = inside
    rle = pycocotools.mask.encode(mask)
    return {
        "category_id": category,
        "bbox": [float(side) for side in (x, y, width, height)],
        "area": int(inside.sum()),
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    }


def directly(truth: dict | str, results: list | str, iou_type: str) -> list[float]:
    """The twelve numbers by pycocotools alone, from dicts or from files."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO(truth if isinstance(truth, str) else None)
        if isinstance(truth, dict):  # pycocotools writes into the dicts that it is given
            annotations.dataset = truth | {"annotations": [dict(entry) for entry in truth["annotations"]]}
            annotations.createIndex()
            results = [dict(result) for result in results]
        evaluation = COCOeval(annotations, annotations.loadRes(results), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def tools(data: Data, iou_type: str, *, from_files: bool) -> dict[str, Callable[[], list[float]]]:
    """Name -> what gives the twelve numbers, the reference first."""
    files = str(data.folder / "truth.json"), str(data.folder / f"{iou_type}.json")
    installed = [backend for backend in BACKENDS.values() if backend.installed]
    names = [f"{backend.package} {version(backend.package)}" for backend in installed]
    truth = read_ground_truth(files[0])
    detections = read_results(files[1], truth, iou_type)

    def score_files(backend: Backend) -> list[float]:
        scores = score_results_file(*files, iou_type, backend=backend.package)[iou_type]
        return [value / 100 for value in scores.values()][:12]

    def score_memory(backend: Backend) -> list[float]:
        return list(average_precision(truth, detections, iou_type, backend=backend).summary.values())

    source = files if from_files else (data.truth, data.results[iou_type])
    score = score_files if from_files else score_memory
    reference = {REFERENCE: partial(directly, *source, iou_type)}
    return reference | {name: partial(score, backend) for name, backend in zip(names, installed)}


def tools_from_masks(data: Data) -> dict[str, Callable[[], list[float]]]:
    """As `tools`, from the dense masks that a model returns: encoding is part of it."""
    masks = {}  # (N, H, W) bool, and results without them, of each image
    for result in data.results["segm"]:
        masks.setdefault(result["image_id"], []).append(result)
    dense = {
        image: torch.from_numpy(pycocotools.mask.decode([one["segmentation"] for one in found])).permute(2, 0, 1).bool()
        for image, found in masks.items()
    }
    dense = {image: found.contiguous() for image, found in dense.items()}
    name = f"benchmark_average_precision_{data.folder.name}"
    MetadataCatalog.get(name).set(
        json_file=str(data.folder / "truth.json"),
        thing_dataset_id_to_contiguous_id={number: number for number in range(1, CLASSES + 1)},
    )

    def official() -> list[float]:
        results = []
        for image, found in masks.items():
            for result, mask in zip(found, dense[image].numpy()):
                encoded = pycocotools.mask.encode(np.array(mask[:, :, None], order="F", dtype=np.uint8))[0]
                results.append({**result, "segmentation": encoded})
        return directly(data.truth, results, "segm")

    def ours() -> list[float]:
        evaluator = DetectionEvaluator(name, tasks=["segm"], backend="auto")
        for image, found in masks.items():
            instances = Instances((HEIGHT, WIDTH), pred_masks=dense[image])
            instances.scores = torch.tensor([result["score"] for result in found], dtype=torch.float64)
            instances.pred_classes = torch.tensor([result["category_id"] for result in found])
            evaluator.process([{"image_id": image}], [{"instances": instances}])
        return [value / 100 for value in evaluator.evaluate()["segm"].values()][:12]

    return {f"{REFERENCE}, and its encoding": official, "DetectionEvaluator, backend=auto": ours}


@cache
def get_data(images: int) -> Data:
    """The data, made once."""
    return Data(images)


def build(iou_type: str, *, from_files: bool, images: int) -> Timed:
    """All backends that are installed."""
    data = get_data(images)
    return Timed(tools(data, iou_type, from_files=from_files), difference=largest_difference, about={"images": images})


def build_from_masks(*, images: int) -> Timed:
    """The whole route of an evaluation of masks."""
    return Timed(tools_from_masks(get_data(images)), difference=largest_difference, about={"images": images})


def largest_difference(expected: list[float], found: list[float]) -> float:
    """Of the twelve numbers, as shares of 1."""
    return float(np.abs(np.array(expected) - np.array(found)).max())

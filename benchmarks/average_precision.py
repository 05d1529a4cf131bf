"""CPU time of box and mask AP by each installed backend beside pycocotools itself, on generated data.

    python benchmarks/average_precision.py                (100 images, about 1 minute)
    python benchmarks/average_precision.py --images 500 --rounds 5 --json benchmarks/results/average_precision.json

640x480 pixels, 80 classes, about 7 objects (one in a hundred a crowd) and 100 detections an image, one thread. The
tools of a group take turns, so that other load on the machine hits all of them; the table has the median over the
rounds of user and system time, and the largest difference in the twelve numbers, as shares of 1.
"""

import argparse
import contextlib
import io
import json
import os

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # of hotcoco, which reads it once
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pycocotools.mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from focalnet_d2.evaluation.average_precision import average_precision, score_results_file
from focalnet_d2.evaluation.coco_backends import BACKENDS, Backend
from focalnet_d2.evaluation.coco_files import SHAPE_KEYS, read_ground_truth, read_results

HEIGHT, WIDTH, CLASSES, OBJECTS, DETECTIONS = 480, 640, 80, 7.5, 100
REFERENCE = "pycocotools, called directly"
Groups = dict[str, dict[str, dict[str, float]]]  # group -> tool -> cpu_s, ratio, max_difference


class Data:
    """Annotations and results of some images, as files and as dicts; masks are ellipses.

    Args:
        folder: empty, gets `truth.json` and, for each IoU type, its results.
        images: their number.
    """

    def __init__(self, folder: Path, images: int) -> None:
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
        self.truth = {
            "images": [{"id": number, "height": HEIGHT, "width": WIDTH} for number in range(1, images + 1)],
            "categories": [{"id": number, "name": f"class {number}"} for number in range(1, CLASSES + 1)],
            "annotations": annotations,
        }
        keys = ("image_id", "category_id", "score")
        self.results = {
            iou_type: [{key: result[key] for key in (*keys, shape)} for result in results]
            for iou_type, shape in SHAPE_KEYS.items()
        }
        self.folder = folder
        for name, content in (("truth", self.truth), *self.results.items()):
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


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


def routes(data: Data, iou_type: str, *, from_files: bool) -> dict[str, Callable[[], list[float]]]:
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


def compare(tools: dict[str, Callable[[], list[float]]], rounds: int) -> dict[str, dict[str, float]]:
    """Seconds, ratio to the first tool, and difference to its numbers; the first round warms up."""
    seconds, numbers = {name: [] for name in tools}, {}
    for _ in range(rounds + 1):
        for name, tool in tools.items():
            start = time.process_time()
            numbers[name] = np.array(tool())
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    return {
        name: {
            "cpu_s": medians[name],
            "ratio": medians[REFERENCE] / medians[name],
            "max_difference": float(np.abs(numbers[name] - numbers[REFERENCE]).max()),
        }
        for name in tools
    }


def measure(images: int = 100, rounds: int = 3) -> Groups:
    """Groups for boxes and masks, from predictions in memory and from files."""
    with tempfile.TemporaryDirectory() as folder:
        data = Data(Path(folder), images)
        return {
            f"{name} AP, from {source}": compare(routes(data, iou_type, from_files=source == "files"), rounds)
            for iou_type, name in (("bbox", "box"), ("segm", "mask"))
            for source in ("memory", "files")
        }


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="measured, after one to warm up")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    options = parser.parse_args()
    groups = measure(options.images, options.rounds)
    for group, rows in groups.items():
        print(group)
        for name, row in rows.items():
            numbers = f"{row['cpu_s']:9.3f} s CPU  {row['ratio']:6.2f}x"
            print(f"  {name:<36} {numbers}  difference {row['max_difference']:.1e}")
    if options.json is not None:
        content = {"date": str(date.today()), "machine": platform.machine(), "images": options.images, "groups": groups}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

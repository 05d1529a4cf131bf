"""Tiny data sets of each kind, and what the checks of labels say of a folder."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.data.annotations.faults import Fault, joined
from focalnet_d2.data.checks.labels import check_file, check_image_labels
from focalnet_d2.data.checks.tasks import LabelFindings, RecipeLimits, read_for_checks, tasks_of
from focalnet_d2.data.folders.finding import find_datasets
from focalnet_d2.data.image_reading import read_image
from focalnet_d2.data.panoptic_png import write_panoptic_ids

HEIGHT, WIDTH = 40, 60
IMAGES = (3, 5, 8, 9)
NO_LIMITS = RecipeLimits()
Content = dict[str, Any]


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    random = np.random.RandomState(0)
    for key in IMAGES:
        Image.fromarray(random.randint(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(folder / f"{key}.png")


def rectangle(x: float, y: float, width: float, height: float) -> list[float]:
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def instances() -> Content:
    """Two objects of each image; those of the left are of class 4, the others of class 9."""
    annotations = []
    for image in IMAGES:
        for category, box in ((4, [2 + image, 3, 12, 20]), (9, [30, 10 + image, 20, 10])):
            annotations.append(
                {
                    "id": 100 + len(annotations),
                    "image_id": image,
                    "category_id": category,
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "segmentation": [rectangle(*box)],
                }
            )
    return {
        "images": [{"id": key, "file_name": f"{key}.png", "height": HEIGHT, "width": WIDTH} for key in IMAGES],
        "categories": [{"id": 4, "name": "owl"}, {"id": 9, "name": "fox"}],
        "annotations": annotations,
    }


def write_instances(root: Path, change: Callable[[Content], Any] = lambda content: None) -> Path:
    """A folder with one JSON; returns the folder."""
    write_images(root / "train")
    content = instances()
    change(content)
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return root


def panoptic_ids(image: int) -> np.ndarray:
    """(H, W): segment 7 and 70000 are things, 300 is stuff, the rest is 0."""
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[20:] = 300
    ids[5:15, image : image + 10] = 7
    ids[10:30, 40:50] = 70000
    return ids


def panoptic() -> Content:
    def segments(ids: np.ndarray) -> list[Content]:
        found = []
        for number, category in ((7, 1), (300, 20), (70000, 4)):
            rows, columns = np.nonzero(ids == number)
            left, top = int(columns.min()), int(rows.min())
            box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
            found.append({"id": number, "category_id": category, "iscrowd": 0, "bbox": box, "area": len(rows)})
        return found

    return {
        "images": [{"id": key, "file_name": f"{key}.png", "height": HEIGHT, "width": WIDTH} for key in IMAGES],
        "categories": [
            {"id": 1, "name": "owl", "isthing": 1},
            {"id": 4, "name": "fox", "isthing": 1},
            {"id": 20, "name": "sky", "isthing": 0},
        ],
        "annotations": [
            {"image_id": key, "file_name": f"{key}.png", "segments_info": segments(panoptic_ids(key))} for key in IMAGES
        ],
    }


def write_panoptic(
    root: Path,
    change: Callable[[Content], Any] = lambda content: None,
    pixels: Callable[[np.ndarray], Any] | None = None,
) -> Path:
    """A folder with JSON and PNGs; `pixels` changes those of image 5."""
    write_images(root / "train")
    for key in IMAGES:
        ids = panoptic_ids(key)
        if pixels is not None and key == 5:
            ids = ids if (changed := pixels(ids)) is None else changed
        write_panoptic_ids(ids, root / "panoptic_train" / f"{key}.png")
    content = panoptic()
    change(content)
    (root / "annotations").mkdir()
    (root / "annotations" / "panoptic_train.json").write_text(json.dumps(content))
    return root


def write_semantic(
    root: Path, classes: list[str] | None, pixels: Callable[[int, np.ndarray], np.ndarray] = lambda key, values: values
) -> Path:
    """A folder with label files of the values 0, 1, 2 and 255; `pixels` changes those of an image."""
    write_images(root / "images")
    (root / "labels").mkdir()
    for key in IMAGES:
        values = np.zeros((HEIGHT, WIDTH), np.uint8)
        values[:, 20:40], values[30:, 40:], values[:2] = 1, 2, 255
        Image.fromarray(pixels(key, values)).save(root / "labels" / f"{key}.png")
    if classes:
        (root / "classes.txt").write_text("\n".join(classes))
    return root


def faults_in(root: Path, limits: RecipeLimits = NO_LIMITS) -> list[Fault]:
    """All faults of labels in a folder, as the engine finds them."""
    faults: list[Fault] = []
    for dataset in find_datasets(root):
        for name in dataset.parts:
            if dataset.split is not None and name == "val":
                continue
            content = read_for_checks(dataset, name, faults.append)
            sums = LabelFindings()
            for task in tasks_of(dataset, name, content, limits):
                try:
                    task = replace(task, size=read_image(task.image_file).shape[:2])
                except (ValueError, OSError):
                    continue
                found = check_image_labels(task)
                sums.faults += found.faults
                sums.counts.update(found.counts)
            faults += [*sums.faults, *check_file(dataset, name, content, sums.counts, limits)]
    return joined(faults)


def serious(faults: list[Fault]) -> list[Fault]:
    return [fault for fault in faults if fault.severity != "note"]

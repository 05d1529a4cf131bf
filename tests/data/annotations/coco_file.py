"""A small COCO instances file with everything in it that is allowed, its images, and both ways to read it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from pycocotools import mask as mask_codec

from focalnet_d2.data.catalog import get_detection_dataset_dicts, get_segmentation_dataset_dicts
from focalnet_d2.data.datasets import register_coco_folder
from focalnet_d2.evaluation.coco_files import GroundTruth, read_ground_truth

HEIGHT, WIDTH = 12, 16
NAME = "annotation_file_test"


def compressed(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[top:bottom, left:right] = 1
    encoded = mask_codec.encode(mask)
    return {"size": [HEIGHT, WIDTH], "counts": encoded["counts"].decode()}


def content() -> dict[str, Any]:
    """Two images with polygons, both kinds of run lengths and a crowd, and one image without objects."""
    polygon = [[2, 2, 8, 2, 8, 8, 2, 8]]
    runs = {"size": [HEIGHT, WIDTH], "counts": [12, 6, 6, 6, 162]}
    objects = [
        (5, 1, [2, 2, 6, 6], polygon, 0),
        (5, 7, [1, 0, 2, 6], runs, 0),
        (9, 7, [4, 3, 6, 5], compressed(4, 3, 10, 8), 0),
        (9, 1, [0, 0, 5, 5], compressed(0, 0, 5, 5), 1),
    ]
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in (9, 5, 7)],
        "categories": [{"id": 7, "name": "fox"}, {"id": 1, "name": "owl"}],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": crowd,
                "segmentation": segmentation,
            }
            for number, (image, category, box, segmentation, crowd) in enumerate(objects, 1)
        ],
    }


def write(folder: Path, changed: dict[str, Any] | str | None = None) -> Path:
    """Writes the file, or another content, beside its images."""
    for image in (5, 7, 9):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / f"{image}.png")
    path = folder / "truth.json"
    path.write_text(changed if isinstance(changed, str) else json.dumps(content() if changed is None else changed))
    return path


def train(path: Path, masks: bool = False) -> list[dict]:
    """What training reads."""
    load: Callable = get_segmentation_dataset_dicts if masks else get_detection_dataset_dicts
    register_coco_folder(NAME, path, path.parent)
    try:
        return load(NAME)
    finally:
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


def truth(path: Path, masks: bool = False) -> GroundTruth:
    """What scoring reads."""
    read = read_ground_truth(path)
    read.require("segm" if masks else "bbox")
    return read

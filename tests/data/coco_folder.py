"""One image of COCO 2017 with panoptic labels, written by hand."""

import json
from pathlib import Path

import numpy as np
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from PIL import Image

from focalnet_d2.data.panoptic_png import write_panoptic_ids

PERSON, TOOTHBRUSH, BANNER, RUG = 1, 90, 92, 200  # category ids: the first and last thing, the first and last stuff
IDS = np.array([[7, 7, 0, 70_000], [7, 900, 900, 70_000]])
SEGMENTS = [
    {"id": 7, "category_id": PERSON, "iscrowd": 1, "area": 3, "bbox": [0, 0, 2, 2]},
    {"id": 900, "category_id": TOOTHBRUSH, "iscrowd": 0, "area": 2, "bbox": [1, 1, 2, 1]},
    {"id": 70_000, "category_id": RUG, "iscrowd": 0, "area": 2, "bbox": [3, 0, 1, 2]},
]


def write_coco(root: Path, split: str = "val", categories: list[dict] | None = None, copies: int = 1) -> Path:
    """The image under the ids 8, 9, ... with its panoptic and instance annotations; returns the folder coco."""
    folder = root / "coco"
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / f"{split}2017").mkdir(exist_ok=True)
    images, annotations, objects = [], [], []
    for image_id in range(8, 8 + copies):
        stem = f"{image_id:012d}"
        images.append({"id": image_id, "file_name": f"{stem}.jpg", "height": 2, "width": 4})
        annotations.append({"image_id": image_id, "file_name": f"{stem}.png", "segments_info": SEGMENTS})
        objects += [{**segment, "image_id": image_id} for segment in SEGMENTS if segment["category_id"] != RUG]
        Image.new("RGB", (4, 2)).save(folder / f"{split}2017" / f"{stem}.jpg")
        write_panoptic_ids(IDS, folder / f"panoptic_{split}2017" / f"{stem}.png")
    panoptic = {"images": images, "annotations": annotations, "categories": categories or COCO_CATEGORIES}
    instances = {**panoptic, "annotations": objects}
    for task, content in (("panoptic", panoptic), ("instances", instances)):
        (folder / "annotations" / f"{task}_{split}2017.json").write_text(json.dumps(content))
    return folder

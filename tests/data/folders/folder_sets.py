"""Tiny data sets in the placements of labelling tools, written by hand."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from focalnet_d2.data.panoptic_png import write_panoptic_ids

CATEGORIES = ({"id": 1, "name": "cat", "supercategory": ""}, {"id": 3, "name": "dog", "supercategory": ""})
SIZE = (6, 4)  # width, height


def save_images(folder: Path, names: Iterable[str]) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, (number, 10, 20)).save(path)


def coco_content(names: Iterable[str], categories=CATEGORIES, **annotation) -> dict:
    """Content in COCO's instances format: an object of each category on every image."""
    names = list(names)
    mask = [[0, 0, 2, 0, 2, 2, 0, 2]]
    shape = {"bbox": [0, 0, 2, 2], "area": 4, "segmentation": mask, "iscrowd": 0}
    pairs = [(number, category["id"]) for number in range(1, len(names) + 1) for category in categories]
    return {
        "images": [
            {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
            for number, name in enumerate(names, 1)
        ],
        "categories": [dict(category) for category in categories],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, **shape, **annotation}
            for number, (image, category) in enumerate(pairs, 1)
        ],
    }


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_coco(root: Path, json_file: str, images: Mapping[str, str] | Iterable[str], **changes) -> None:
    """A JSON, and its images.

    Args:
        images: file_name in the JSON -> path of the image below root; or paths that are both.
    """
    images = images if isinstance(images, Mapping) else {name: name for name in images}
    save_images(root, images.values())
    write_json(root / json_file, coco_content(images, **changes))


PANOPTIC_IDS = np.array([[1, 1, 2, 2, 3, 0], [1, 1, 2, 2, 3, 0], [4, 4, 4, 4, 3, 0], [4, 4, 4, 4, 0, 0]])
PANOPTIC_CATEGORIES = (  # ids with gaps
    {"id": 1, "name": "cat", "isthing": 1},
    {"id": 4, "name": "grass", "isthing": 0},
    {"id": 9, "name": "dog", "isthing": 1},
    {"id": 20, "name": "road", "isthing": 0},
)


def panoptic_content(names: Iterable[str]) -> dict:
    """Content in COCO's panoptic format; areas and boxes in it are wrong."""
    classes = {1: 1, 2: 9, 3: 4, 4: 20}  # segment -> category
    segments = [
        {"id": segment, "category_id": category, "iscrowd": 0, "area": 999, "bbox": [0, 0, 1, 1]}
        for segment, category in classes.items()
    ]
    names = list(names)
    return {
        "images": [
            {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
            for number, name in enumerate(names, 1)
        ],
        "categories": [dict(category) for category in PANOPTIC_CATEGORIES],
        "annotations": [
            {"image_id": number, "file_name": f"{Path(name).stem}.png", "segments_info": segments}
            for number, name in enumerate(names, 1)
        ],
    }


def write_panoptic(root: Path, part: str, count: int = 2) -> None:
    names = [f"{part}_{number}.jpg" for number in range(count)]
    save_images(root / part, names)
    write_json(root / "annotations" / f"panoptic_{part}.json", panoptic_content(names))
    for name in names:
        write_panoptic_ids(PANOPTIC_IDS, root / f"panoptic_{part}" / f"{Path(name).stem}.png")


def save_label(path: Path, values, *, mode: str | None = None) -> Path:
    """A label file of 6 x 4 pixels: `values` repeated over its pixels; of mode "RGB" they are colors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = np.resize(np.array(values, np.uint8), (SIZE[1] * SIZE[0], *np.shape(values)[1:]))
    image = Image.fromarray(flat.reshape(SIZE[1], SIZE[0], *flat.shape[1:]))
    if mode == "P":
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    elif mode == "1":
        image = image.point(lambda value: 255 * (value > 0), mode="1")
    image.save(path)
    return path

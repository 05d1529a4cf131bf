"""Tiny images with labels on disk, for the tests of the mappers and of the panoptic data sets."""

import json

import numpy as np
from PIL import Image

from focalnet_d2.data.panoptic_png import write_panoptic_ids

CATEGORIES = [  # ids with gaps, things and stuff mixed
    {"id": 40, "name": "sky", "isthing": 0},
    {"id": 7, "name": "dog", "isthing": 1},
    {"id": 90, "name": "car", "isthing": 1},
    {"id": 12, "name": "sea", "isthing": 0},
]


def save_image(path, height, width, mode="RGB"):
    """An image whose value at (y, x) is 10 y + x, in every channel."""
    values = (10 * np.arange(height)[:, None] + np.arange(width)).astype(np.uint8)
    Image.fromarray(values).convert(mode).save(path)
    return str(path)


def save_label(path, rows, dtype=np.uint8):
    Image.fromarray(np.array(rows, dtype)).save(path)
    return str(path)


def panoptic_record(folder, ids, segments):
    """Dataset dict of one image; segments are (id, contiguous class, iscrowd)."""
    ids = np.array(ids)
    write_panoptic_ids(ids, folder / "panoptic.png")
    return {
        "file_name": save_image(folder / "image.png", *ids.shape),
        "image_id": 5,
        "pan_seg_file_name": str(folder / "panoptic.png"),
        "segments_info": [
            {"id": i, "category_id": category, "iscrowd": crowd, "isthing": True} for i, category, crowd in segments
        ],
    }


def write_panoptic_set(root, *, change=lambda content: None):
    """Two images of 2 x 3 pixels in COCO's panoptic format below root; `change` may damage the JSON."""
    ids = {3: [[300, 300, 70000], [300, 0, 70000]], 1: [[9, 9, 9], [9, 9, 8]]}
    segments = {
        3: [{"id": 300, "category_id": 90, "iscrowd": 0}, {"id": 70000, "category_id": 40, "iscrowd": 0}],
        1: [{"id": 9, "category_id": 7, "iscrowd": 1}, {"id": 8, "category_id": 12}],
    }
    (root / "photos").mkdir(parents=True)
    images, annotations = [], []
    for image_id, pixels in ids.items():
        save_image(root / "photos" / f"photo_{image_id}.png", 2, 3)
        write_panoptic_ids(np.array(pixels), root / "ids" / f"{image_id}.png")
        images.append({"id": image_id, "file_name": f"photo_{image_id}.png", "height": 2, "width": 3})
        annotations.append({"image_id": image_id, "file_name": f"{image_id}.png", "segments_info": segments[image_id]})
    content = {"images": images, "annotations": annotations, "categories": [dict(one) for one in CATEGORIES]}
    change(content)
    (root / "panoptic.json").write_text(json.dumps(content))
    return root / "panoptic.json", root / "ids", root / "photos"

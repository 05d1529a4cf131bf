"""Folders of four tiny images of each kind of data, as a person would have them, with ids that nobody counts from 0."""

import json
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from focalnet_d2.data.class_map import class_map
from focalnet_d2.data.folders.dataset import FolderDataset, Part
from tests.data.folders.labelled_folders import HEIGHT, WIDTH, labels_of_part, write

SIZE = 64
THINGS, STUFF = {4: "cat", 9: "traffic light"}, {1: "road", 20: "sky"}
BOXES = {4: (4, 6, 20, 30), 9: (30, 8, 25, 20)}  # XYWH, one object of each class


def write_images(folder: Path, names: list[str], size: tuple[int, int] = (SIZE, SIZE)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.RandomState(0)
    for name in names:
        Image.fromarray(noise.randint(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(folder / name)


def write_boxes(root: Path, *, parts: tuple[str, ...] = ("train", "val"), masks: bool = False, count: int = 4) -> Path:
    """`<part>/_annotations.coco.json` beside the images."""
    for part in parts:
        names = [f"{part}_{number}.png" for number in range(count)]
        write_images(root / part, names)
        images = [{"id": i, "file_name": name, "height": SIZE, "width": SIZE} for i, name in enumerate(names, 7)]
        annotations = [
            {"image_id": image["id"], "category_id": key, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
            | ({"segmentation": [_corners(*box)]} if masks else {})
            for image in images
            for key, box in BOXES.items()
        ]
        content = {
            "images": images,
            "annotations": [{"id": number, **one} for number, one in enumerate(annotations, 1)],
            "categories": [{"id": key, "name": name} for key, name in THINGS.items()],
        }
        (root / part / "_annotations.coco.json").write_text(json.dumps(content))
    return root


def write_masks(root: Path) -> Path:
    """The boxes with masks."""
    return write_boxes(root, masks=True)


def _corners(x: float, y: float, w: float, h: float) -> list[float]:
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def write_panoptic(root: Path, parts: tuple[str, ...] = ("train", "val")) -> Path:
    """`annotations/panoptic_<part>.json`, `panoptic_<part>/*.png` and `<part>/*.jpg`: two things on road and sky."""
    ids = np.full((SIZE, SIZE), 300, dtype=np.int64)
    ids[SIZE // 2 :] = 400
    classes = {300: 20, 400: 1}
    for number, (key, (x, y, w, h)) in enumerate(BOXES.items(), 1):
        ids[y : y + h, x : x + w] = number
        classes[number] = key
    png = np.stack([ids % 256, ids // 256, ids * 0], axis=-1).astype(np.uint8)
    categories = [{"id": key, "name": name, "isthing": 1} for key, name in THINGS.items()]
    categories += [{"id": key, "name": name, "isthing": 0} for key, name in STUFF.items()]
    for part in parts:
        names = [f"{number}.jpg" for number in range(4)]
        write_images(root / part, names)
        (root / f"panoptic_{part}").mkdir()
        images, annotations = [], []
        for number, name in enumerate(names):
            Image.fromarray(png).save(root / f"panoptic_{part}" / f"{number}.png")
            images.append({"id": number, "file_name": name, "height": SIZE, "width": SIZE})
            segments = [
                {"id": i, "category_id": key, "iscrowd": 0, "area": int((ids == i).sum())} for i, key in classes.items()
            ]
            annotations.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
        file = root / "annotations" / f"panoptic_{part}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return root


def write_semantic(root: Path) -> Path:
    """`images/{train,val}/*.jpg`, `labels/{train,val}/*.png` with the values 0 to 2, and `classes.txt`."""
    labels = np.zeros((SIZE, SIZE), dtype=np.uint8)
    labels[20:40], labels[40:] = 1, 2
    for part in ("train", "val"):
        write_images(root / "images" / part, [f"{number}.jpg" for number in range(4)])
        (root / "labels" / part).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(labels).save(root / "labels" / part / f"{number}.png")
    (root / "classes.txt").write_text("grass\nwater\nrock\n")
    return root


def write_labelled(root: Path, layout: str) -> Path:
    """`<part>/images/*.png` with a cat and a dog on each, as "yolo", "voc", "cvat" or "labelme" say it."""
    for part in ("train", "val"):
        names = tuple(f"{part}_{number}" for number in range(4))
        write_images(root / part / "images", [f"{name}.png" for name in names], size=(WIDTH, HEIGHT))
        write(root, labels_of_part(layout, part, names))
    if layout == "yolo":
        write(root, {"data.yaml": "train: train/images\nval: val/images\nnames: [cat, dog]\n"})
    return root


def write_classes(root: Path) -> Path:
    """`{train,val}/<class>/*.png` of three classes."""
    for part in ("train", "val"):
        for name in ("ant", "bee", "wasp"):
            write_images(root / part / name, [f"{number}.png" for number in range(3)])
    return root


def dataset_of(kind: str, *, has_masks: bool = True) -> FolderDataset:
    """A found data set that no folder holds: as `found` of a recipe, and for what reads nothing."""
    things = {"panoptic": [True, False, True, False], "semantic": False}.get(kind, True)
    classes = class_map([4, 1, 9, 20], ["cat", "road", "traffic light", "sky"], things=things)
    parts = {part: Part(f"images/{part}", f"labels/{part}", {"panoptic_root": "png"}) for part in ("train", "val")}
    layout = {"instances": "coco", "panoptic": "coco-panoptic"}.get(kind, kind)
    return FolderDataset("folder", layout, kind, parts, classes, "written by hand", has_masks=has_masks)


LABELLED = ("yolo", "voc", "cvat", "labelme")
# What writes each layout, by name.
FOLDERS = {
    **{"boxes": write_boxes, "masks": write_masks, "panoptic": write_panoptic, "semantic": write_semantic},
    **{"classes": write_classes, **{layout: partial(write_labelled, layout=layout) for layout in LABELLED}},
}

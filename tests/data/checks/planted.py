"""Faults that are planted into tiny data sets, one into each: what plants it, and what has to be found."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from focalnet_d2.data.annotations.json_file import Entry
from tests.data.checks.label_sets import (
    HEIGHT,
    IMAGES,
    WIDTH,
    Content,
    rectangle,
    write_instances,
    write_panoptic,
    write_semantic,
)


class Planted(NamedTuple):
    """A fault.

    Attributes:
        write: writes the set into a folder.
        kind: of the fault that has to be found.
        severity: of it.
        file: end of the name of the file that it has to name.
        ids: that it has to name.
    """

    write: Callable[[Path], object]
    kind: str
    severity: str
    file: str
    ids: tuple[str, ...]


def _object(number: int, **values: object) -> Callable[[Content], None]:
    """A change of one object."""
    return lambda content: content["annotations"][number].update(values)


def _each(key: str, change: Callable[[Entry], object]) -> Callable[[Content], None]:
    def of_all(content: Content) -> None:
        for entry in content[key]:
            change(entry)

    return of_all


def _as_corners(entry: Entry) -> None:
    x, y, width, height = entry["bbox"]
    entry["bbox"] = [x, y, x + width, y + height]
    del entry["segmentation"]


def _as_shares(entry: Entry) -> None:
    x, y, width, height = entry["bbox"]
    entry["bbox"] = [x / WIDTH, y / HEIGHT, width / WIDTH, height / HEIGHT]


def _only_boxes(content: Content, change: Callable[[Content], object]) -> None:
    for entry in content["annotations"]:
        del entry["segmentation"]
    change(content)


BOW_TIE = [10.0, 5.0, 30.0, 25.0, 30.0, 5.0, 10.0, 25.0]
RUNS = {"size": [HEIGHT, WIDTH], "counts": [100, 50, 100]}
COMPRESSED = {"size": [HEIGHT, WIDTH], "counts": "T3d0"}  # 100 pixels, then 20, of 2400
JSON = "annotations/instances_train.json"
PANOPTIC_JSON = "annotations/panoptic_train.json"


def _in_json(change: Callable[[Content], object], kind: str, ids: tuple[str, ...], severity: str = "error") -> Planted:
    return Planted(lambda root: write_instances(root, change), kind, severity, JSON, ids)


INSTANCES = {
    "two images of one id": _in_json(lambda c: c["images"][1].update(id=3), "duplicate-image-id", ("3",)),
    "an image id as text": _in_json(lambda c: c["images"][0].update(id="3"), "image-id-type", ("3",)),
    "image ids of objects as text": _in_json(
        _each("annotations", lambda entry: entry.update(image_id=str(entry["image_id"]))),
        "image-id-type",
        tuple(str(100 + number) for number in range(8)),
    ),
    "an object of no image": _in_json(_object(2, image_id=77), "image-unknown", ("102",), "warning"),
    "an object of no class": _in_json(_object(3, category_id=5), "category-unknown", ("103",)),
    "a class id as text": _in_json(_object(3, category_id="9"), "category-id-type", ("103",)),
    "two objects of one id": _in_json(_object(4, id=101), "duplicate-annotation-id", ("101",), "warning"),
    "a flag as text": _in_json(_object(1, iscrowd="0"), "flag-value", ("101",)),
    "every object a crowd": _in_json(
        _each("annotations", lambda entry: entry.update(iscrowd=1)),
        "every-object-is-crowd",
        tuple(str(100 + number) for number in range(8)),
    ),
    "a box outside": _in_json(_object(1, bbox=[70, 5, 8, 8], segmentation=[]), "box-empty", ("101",), "warning"),
    "a box half outside": _in_json(
        _object(1, bbox=[50, 5, 20, 8], segmentation=[rectangle(50, 5, 20, 8)]), "box-beyond-image", ("101",), "warning"
    ),
    "an empty box": _in_json(_object(1, bbox=[30, 13, 0, 10]), "box-empty", ("101",), "warning"),
    "a negative box": _in_json(_object(1, bbox=[50, 23, -20, -10]), "box-empty", ("101",), "warning"),
    "a box that is not finite": _in_json(_object(1, bbox=[30, 13, float("nan"), 10]), "box-value", ("101",)),
    "boxes of corners": _in_json(_each("annotations", _as_corners), "boxes-of-corners", ("101", "103", "105", "107")),
    "boxes in shares of the sides": _in_json(
        lambda c: _only_boxes(c, _each("annotations", _as_shares)),
        "boxes-of-shares",
        tuple(str(100 + number) for number in range(8)),
    ),
    "a polygon of two points": _in_json(_object(0, segmentation=[[5, 3, 17, 23]]), "polygon-too-few-points", ("100",)),
    "a polygon of two points beside another": _in_json(
        _object(0, segmentation=[[5, 3, 17, 23], rectangle(5, 3, 12, 20)]),
        "polygon-too-few-points",
        ("100",),
        "warning",
    ),
    "a polygon that crosses itself": _in_json(
        _object(1, bbox=[10, 5, 20, 20], segmentation=[BOW_TIE], area=200),
        "polygon-self-crossing",
        ("101",),
        "warning",
    ),
    "run lengths of another total": _in_json(_object(5, segmentation=RUNS), "run-lengths-total", ("105",)),
    "compressed run lengths of another total": _in_json(
        _object(5, segmentation=COMPRESSED), "run-lengths-total", ("105",)
    ),
    "run lengths of another size": _in_json(
        _object(5, segmentation={"size": [WIDTH, HEIGHT], "counts": [HEIGHT * WIDTH]}), "run-lengths-size", ("105",)
    ),
    "a mask elsewhere than its box": _in_json(
        _object(0, segmentation=[rectangle(35, 15, 12, 20)]), "mask-box-disagree", ("100",), "warning"
    ),
    "one object without a mask": _in_json(_object(6, segmentation=None), "mask-missing", ("106",), "warning"),
    "half the area": _in_json(_object(7, area=90), "area-wrong", ("107",), "warning"),
    "three times the area": _in_json(_object(7, area=600), "area-wrong", ("107",), "warning"),
    "three times the area of boxes": _in_json(
        lambda c: _only_boxes(c, _object(7, area=600)), "area-wrong", ("107",), "warning"
    ),
    "a negative area": _in_json(_object(7, area=-4), "area-value", ("107",)),
    "an object twice": _in_json(
        lambda c: c["annotations"].append({**c["annotations"][2], "id": 500}), "repeated-object", ("500",), "warning"
    ),
    "an image without a file": _in_json(lambda c: c["images"][2].pop("file_name"), "file-name", ("8",)),
    "a file name that no system has": _in_json(
        lambda c: c["images"][2].update(file_name="8\ud800.png"), "file-name", ("8",)
    ),
    "the height as text": _in_json(lambda c: c["images"][2].update(height="40"), "image-size-value", ("8",)),
}


def _panoptic(
    kind: str,
    ids: tuple[str, ...],
    severity: str,
    change: Callable[[Content], object] = lambda content: None,
    pixels: Callable[[np.ndarray], object] | None = None,
) -> Planted:
    return Planted(lambda root: write_panoptic(root, change, pixels), kind, severity, PANOPTIC_JSON, ids)


def _segment(number: int, **values: object) -> Callable[[Content], None]:
    """A change of a segment of image 5."""
    return lambda content: content["annotations"][1]["segments_info"][number].update(values)


def _without_png(root: Path) -> None:
    write_panoptic(root)
    (root / "panoptic_train" / "5.png").unlink()


def _png(change: Callable[[Image.Image], Image.Image]) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        write_panoptic(root)
        path = root / "panoptic_train" / "5.png"
        change(Image.open(path)).save(path)

    return write


def _set(ids: np.ndarray, number: int) -> None:
    ids[:3, :3] = number


def _unset(ids: np.ndarray) -> None:
    ids[ids == 7] = 300


PANOPTIC = {
    "pixels of no segment": _panoptic("pixels-without-segment", ("5/11",), "error", pixels=lambda ids: _set(ids, 11)),
    "a segment without pixels": _panoptic("segment-without-pixels", ("5/7",), "warning", pixels=_unset),
    "two segments of one id": _panoptic("duplicate-segment-id", ("5/7",), "error", _segment(2, id=7)),
    "a segment of no class": _panoptic("category-unknown", ("5/7",), "error", _segment(0, category_id=3)),
    "a segment id as text": _panoptic("segment-id", ("5/7",), "error", _segment(0, id="7")),
    "a class id of a segment as text": _panoptic("category-id-type", ("5/7",), "error", _segment(0, category_id="1")),
    "a flag of a segment as text": _panoptic("flag-value", ("5/7",), "error", _segment(0, iscrowd="0")),
    "half the area of a segment": _panoptic("area-wrong", ("5/7",), "warning", _segment(0, area=50)),
    "another box of a segment": _panoptic("mask-box-disagree", ("5/7",), "warning", _segment(0, bbox=[0, 0, 10, 10])),
    "stuff in pieces": _panoptic("stuff-in-pieces", ("5",), "warning", _segment(0, category_id=20)),
    "a missing PNG": Planted(_without_png, "label-missing", "error", PANOPTIC_JSON, ("5",)),
    "a PNG of another size": Planted(
        _png(lambda image: image.crop((0, 0, 50, 40))), "label-size", "error", PANOPTIC_JSON, ("5",)
    ),
    "a gray PNG": Planted(_png(lambda image: image.convert("L")), "label-unreadable", "error", PANOPTIC_JSON, ("5",)),
    "two annotations of an image": _panoptic(
        "duplicate-annotation", ("5",), "error", lambda c: c["annotations"].append(dict(c["annotations"][1]))
    ),
    "an annotation of no image": _panoptic(
        "image-unknown", ("77",), "error", lambda c: c["annotations"][1].update(image_id=77)
    ),
}


def _semantic(
    kind: str,
    severity: str,
    ids: tuple[str, ...],
    pixels: Callable[[int, np.ndarray], np.ndarray],
    classes: tuple[str, ...] = ("ground", "tree", "water"),
) -> Planted:
    return Planted(lambda root: write_semantic(root, list(classes), pixels), kind, severity, "labels", ids)


def _seven(key: int, values: np.ndarray) -> np.ndarray:
    if key == 8:
        values[5, 5:9] = 7
    return values


def _from_one(key: int, values: np.ndarray) -> np.ndarray:
    return np.where(values == 255, 255, values + 1).astype(np.uint8)


def _binary(key: int, values: np.ndarray) -> np.ndarray:
    return np.where(values == 1, 255, 0).astype(np.uint8)


def _damaged_labels(root: Path) -> None:
    write_semantic(root, ["ground", "tree", "water"])
    path = root / "labels" / f"{IMAGES[2]}.png"
    path.write_bytes(path.read_bytes()[:60])


SEMANTIC = {
    "no value but the ignored one": _semantic(
        "nothing-to-find", "error", ("255",), lambda key, values: np.full_like(values, 255)
    ),
    "a value of no class": _semantic("label-value-unknown", "error", ("8.png",), _seven),
    "classes from 1": _semantic("labels-from-one", "error", ("3",), _from_one),
    "masks of 0 and 255": _semantic("labels-of-0-and-255", "warning", ("255",), _binary, ("ground", "tree", "water")),
    "labels of another size": _semantic(
        "label-size", "error", ("8.png",), lambda key, values: values[:, :50] if key == 8 else values
    ),
    "a damaged label file": Planted(_damaged_labels, "label-unreadable", "error", "labels", ("8.png",)),
}

ALL = {**INSTANCES, **PANOPTIC, **SEMANTIC}

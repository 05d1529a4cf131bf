"""Tiny folders of images and labels, written by hand as labelling tools lay them out."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.data.annotations.faults import Fault, strict
from focalnet_d2.data.annotations.instances import CocoInstances
from focalnet_d2.data.folders.layout import Found, Layout
from focalnet_d2.data.folders.listing import Listing

WIDTH, HEIGHT = 40, 20


def write(root: Path, files: Mapping[str, Any]) -> Path:
    """Writes files below a folder: text, JSON of dicts, and images of WIDTH x HEIGHT where the content is None."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.new("RGB", (WIDTH, HEIGHT)).save(path)
        elif isinstance(content, Image.Image):
            content.save(path)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return root


def find(layout: Layout, root: Path, **wanted: str) -> Found:
    found = layout.find(Listing(root), wanted)
    assert found is not None
    return found


def read(layout: Layout, root: Path, part: str = "train") -> CocoInstances:
    """What is read from a folder without a fault."""
    return layout.read(find(layout, root).parts[part], strict)


def faults(layout: Layout, root: Path, part: str = "train") -> tuple[CocoInstances, list[Fault]]:
    """What is read from a folder when faults are collected, without notes."""
    heard: list[Fault] = []
    content = layout.read(find(layout, root).parts[part], heard.append)
    return content, [fault for fault in heard if fault.severity != "note"]


def names_of(content: CocoInstances, root: Path) -> list[str]:
    """Relative path of each image."""
    return [Path(image["file_name"]).relative_to(root).as_posix() for image in content.images]


def objects(content: CocoInstances, root: Path) -> list[tuple[str, str, list[float]]]:
    """Image, class and XYWH box of each object, rounded far below a pixel."""
    names = dict(zip([image["id"] for image in content.images], names_of(content, root), strict=True))
    return [
        (
            names[one["image_id"]],
            content.class_names[one["category_id"]],
            [round(side, 6) + 0.0 for side in one["bbox"]],
        )
        for one in content.annotations or ()
    ]


def png(mask: np.ndarray) -> str:
    """A bitmap (h, w) as labelme writes it."""
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def voc_xml(*boxes: str, size: tuple[int, int] = (WIDTH, HEIGHT), filename: str = "") -> str:
    """Boxes as "name xmin ymin xmax ymax [difficult]"."""
    width, height = size
    rows = []
    for name, x0, y0, x1, y1, *difficult in map(str.split, boxes):
        flag = "".join(f"<difficult>{one}</difficult>" for one in difficult)
        corners = f"<xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        rows.append(f"<object><name>{name}</name>{flag}<bndbox>{corners}</bndbox></object>")
    sides = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{filename}</filename>{sides}{''.join(rows)}</annotation>"


def cvat_xml(images: Mapping[str, str], labels: tuple[str, ...] = ("cat", "dog"), subset: str = "") -> str:
    """Shapes of each image as XML."""
    rows = "".join(f"<label><name>{label}</name></label>" for label in labels)
    of_subset = f' subset="{subset}"' if subset else ""
    entries = "".join(
        f'<image id="{place}" name="{name}" width="{WIDTH}" height="{HEIGHT}"{of_subset}>{shapes}</image>'
        for place, (name, shapes) in enumerate(images.items())
    )
    head = f"<meta><task><labels>{rows}</labels></task></meta>"
    return f"<annotations><version>1.1</version>{head}{entries}</annotations>"


def labelme_json(*shapes: tuple, image: str = "a.png", **others: Any) -> dict[str, Any]:
    """Shapes as (label, kind, points, more keys)."""
    rows = [
        {"label": label, "shape_type": kind, "points": points, "group_id": None, "flags": {}, **dict(*more)}
        for label, kind, points, *more in shapes
    ]
    head = {"version": "7.9.1", "flags": {}, "shapes": rows, "imagePath": image, "imageData": None}
    return {**head, "imageHeight": HEIGHT, "imageWidth": WIDTH, **others}


def labels_of_part(layout: str, part: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Label files of one part: in every image a cat from column 4 to 16, and a dog from column 20 on."""
    cat, dog = (4, 0, 16, HEIGHT), (20, 0, WIDTH, HEIGHT)  # corners
    if layout == "yolo":
        lines = "0 0.25 0.5 0.3 1\n1 0.75 0.5 0.5 1\n"
        return {f"{part}/labels/{name}.txt": lines for name in names}
    if layout == "voc":
        boxes = (f"cat 5 1 16 {HEIGHT}", f"dog 21 1 {WIDTH} {HEIGHT}")
        return {f"{part}/images/{name}.xml": voc_xml(*boxes, filename=f"{name}.png") for name in names}
    if layout == "labelme":
        shapes = [(label, "rectangle", [box[:2], box[2:]]) for label, box in (("cat", cat), ("dog", dog))]
        return {f"{part}/images/{name}.json": labelme_json(*shapes, image=f"{name}.png") for name in names}
    rows = (
        '<box label="{}" xtl="{}" ytl="{}" xbr="{}" ybr="{}"/>'.format(*one) for one in (("cat", *cat), ("dog", *dog))
    )
    shapes = "".join(rows)
    return {f"{part}.xml": cvat_xml({f"{name}.png": shapes for name in names})}

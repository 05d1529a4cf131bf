"""Sets of any number of small images, in each layout, of a training and a validation part."""

import json
import random

import numpy as np
from PIL import Image

from focalnet_d2.data.panoptic_png import write_panoptic_ids


def write_coco(root, count):
    """A training and a validation part, half of the images each."""
    for part, first in (("train", 0), ("valid", count // 2)):
        numbers = range(first, first + count // 2)
        images = [{"id": one, "file_name": f"{one:012d}.png", "width": 8, "height": 8} for one in numbers]
        box = {"bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0, "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]}
        annotations = [{"id": one, "image_id": one, "category_id": 1 + one % 2, **box} for one in numbers]
        categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        write_images(root / part, numbers)
        (root / part / "_annotations.coco.json").write_text(json.dumps(content))


def write_panoptic(root, count):
    """The same as panoptic files: a thing and a kind of stuff in each image."""
    ids = np.repeat(np.array([[1, 2]], np.int32), 8, axis=0).repeat(4, axis=1)  # (8, 8)
    segments = [
        {"id": one, "category_id": one, "iscrowd": 0, "area": 32, "bbox": [4 * one - 4, 0, 4, 8]} for one in (1, 2)
    ]
    categories = [{"id": 1, "name": "a", "isthing": 1}, {"id": 2, "name": "b", "isthing": 0}]
    for part, first in (("train", 0), ("val", count // 2)):
        numbers = range(first, first + count // 2)
        write_images(root / part, numbers)
        (root / f"panoptic_{part}").mkdir()
        for one in numbers:
            write_panoptic_ids(ids, root / f"panoptic_{part}" / f"{one:012d}.png")
        images = [{"id": one, "file_name": f"{one:012d}.png", "width": 8, "height": 8} for one in numbers]
        annotations = [{"image_id": one, "file_name": f"{one:012d}.png", "segments_info": segments} for one in numbers]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"panoptic_{part}.json").write_text(json.dumps(content))


def write_yolo(root, count):
    """The same as YOLO's files."""
    for part, first in (("train", 0), ("val", count // 2)):
        numbers = range(first, first + count // 2)
        write_images(root / "images" / part, numbers)
        (root / "labels" / part).mkdir(parents=True)
        for one in numbers:
            (root / "labels" / part / f"{one:012d}.txt").write_text(f"{one % 2} 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a, b]\n")


def write_voc(root, count):
    """Boxes as Pascal VOC's files beside the images."""
    for part, numbers in parts_of(count):
        write_images(root / part, numbers)
        for one in numbers:
            corners = "<xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax>"
            (root / part / f"{one:012d}.xml").write_text(
                f"<annotation><filename>{one:012d}.png</filename><size><width>8</width><height>8</height></size>"
                f"<object><name>{'ab'[one % 2]}</name><bndbox>{corners}</bndbox></object></annotation>"
            )


def write_cvat(root, count):
    """The same as one file of CVAT for each part."""
    for part, numbers in parts_of(count):
        write_images(root / part, numbers)
        images = (
            f'<image id="{one}" name="{one:012d}.png" width="8" height="8">'
            f'<box label="{"ab"[one % 2]}" xtl="1" ytl="1" xbr="5" ybr="5"></box></image>'
            for one in numbers
        )
        (root / part / "annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>")


def write_labelme(root, count):
    """The same as labelme's files."""
    for part, numbers in parts_of(count):
        write_images(root / part, numbers)
        for one in numbers:
            shape = {"label": "ab"[one % 2], "points": [[1, 1], [5, 5]], "shape_type": "rectangle"}
            image = {"imagePath": f"{one:012d}.png", "imageHeight": 8, "imageWidth": 8}
            (root / part / f"{one:012d}.json").write_text(json.dumps({"shapes": [shape], **image}))


def write_semantic(root, count):
    """A class of pixels in each half of every image."""
    labels = Image.fromarray(np.repeat(np.array([[0, 1]], np.uint8), 8, axis=0).repeat(4, axis=1))  # (8, 8)
    for part, numbers in parts_of(count):
        write_images(root / "images" / part, numbers)
        (root / "labels" / part).mkdir(parents=True)
        for one in numbers:
            labels.save(root / "labels" / part / f"{one:012d}.png")


def write_masks_beside(root, count):
    """The same as Roboflow's: each label file beside its image."""
    write_semantic(root, count)
    for part, numbers in parts_of(count):
        for one in numbers:
            (root / "labels" / part / f"{one:012d}.png").rename(root / "images" / part / f"{one:012d}_mask.png")


def write_class_folders(root, count):
    """Two classes of images."""
    for part, numbers in parts_of(count):
        for place, name in enumerate("ab"):
            write_images(root / part / name, numbers[place::2])


def parts_of(count):
    """A training and a validation part: the numbers of their images, half of them each."""
    return ("train", range(count // 2)), ("val", range(count // 2, count))


def write_images(folder, numbers):
    """Images of noise, no two alike."""
    folder.mkdir(parents=True)
    for one in numbers:
        Image.frombytes("RGB", (8, 8), random.Random(one).randbytes(192)).save(folder / f"{one:012d}.png")


WRITERS = {  # (folder, number of images) -> nothing, by what is written
    "coco": write_coco,
    "coco-panoptic": write_panoptic,
    "yolo": write_yolo,
    "voc": write_voc,
    "cvat": write_cvat,
    "labelme": write_labelme,
    "semantic": write_semantic,
    "semantic, labels beside the images": write_masks_beside,
    "class-folders": write_class_folders,
}

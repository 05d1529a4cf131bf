"""What hotcoco can read of YOLO, Pascal VOC and CVAT, our readers give alike: images, classes and boxes, ids apart."""

import random

import pytest

from focalnet_d2.data.folders import cvat, hotcoco_reading, voc, yolo
from tests.data.folders.labelled_folders import HEIGHT, WIDTH, cvat_xml, objects, read, voc_xml, write

hotcoco = pytest.importorskip("hotcoco", reason="compares with hotcoco, of the extra 'fast-eval'")

NAMES = ("cat", "dog", "traffic light")
IMAGES = ("a", "b", "nothing")


def boxes(seed: int) -> dict[str, list[tuple[str, int, int, int, int]]]:
    """Class, x0, y0, x1 and y1 of some objects of each image; one image has none, and each class has one."""
    draw = random.Random(seed)
    drawn = {name: [_box(draw, draw.choice(NAMES)) for _ in range(draw.randint(0, 4))] for name in IMAGES[:-1]}
    return {"a": [_box(draw, name) for name in NAMES] + drawn["a"], "b": drawn["b"], "nothing": []}


def _box(draw: random.Random, name: str) -> tuple[str, int, int, int, int]:
    x, y = sorted(draw.sample(range(1, WIDTH), 2)), sorted(draw.sample(range(1, HEIGHT), 2))
    return name, x[0], y[0], x[1], y[1]


def write_yolo(root, drawn):
    def line(name, x0, y0, x1, y1):
        numbers = ((x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT, (x1 - x0) / WIDTH, (y1 - y0) / HEIGHT)
        return " ".join(map(str, (NAMES.index(name), *numbers)))

    texts = {f"labels/{image}.txt": "\n".join(line(*one) for one in own) for image, own in drawn.items()}
    images = {f"images/{image}.png": None for image in drawn}
    write(root, {**texts, **images, "labels/data.yaml": f"nc: {len(NAMES)}\nnames: [{', '.join(NAMES)}]\n"})
    return hotcoco.COCO.from_yolo(str(root / "labels"), images_dir=str(root / "images"))


def write_voc(root, drawn):
    rows = {
        image: [" ".join(map(str, (name.replace(" ", "_"), *box))) for name, *box in own]
        for image, own in drawn.items()
    }
    texts = {f"Annotations/{image}.xml": voc_xml(*own, filename=f"{image}.png") for image, own in rows.items()}
    write(root, {**texts, **{f"JPEGImages/{image}.png": None for image in drawn}})
    return hotcoco.COCO.from_voc(str(root))


def write_cvat(root, drawn):
    """Boxes, and of the last class a triangle with that box around it."""

    def shape(name, x0, y0, x1, y1):
        if name == NAMES[-1]:
            return f'<polygon label="{name}" points="{x0},{y0};{x1},{y0};{x1},{y1}"/>'
        return f'<box label="{name}" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}"/>'

    shapes = {f"{image}.png": "".join(shape(*one) for one in own) for image, own in drawn.items()}
    write(root, {"annotations.xml": cvat_xml(shapes, NAMES), **{f"{image}.png": None for image in drawn}})
    return hotcoco.COCO.from_cvat(str(root / "annotations.xml"))


def rows_of(theirs, folder):
    """Image, class and XYWH box of each object, as `objects` gives those of ours."""
    content = theirs.dataset
    images = {one["id"]: one["file_name"].removesuffix(".png") for one in content["images"]}
    names = {one["id"]: one["name"] for one in content["categories"]}
    return sorted(
        (
            f"{folder}{images[one['image_id']]}.png",
            names[one["category_id"]],
            [round(side, 6) + 0.0 for side in one["bbox"]],
        )
        for one in content["annotations"]
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("layout", "write_both", "folder"),
    [(yolo, write_yolo, "images/"), (voc, write_voc, "JPEGImages/"), (cvat, write_cvat, "")],
    ids=["yolo", "voc", "cvat"],
)
def test_images_classes_and_boxes_are_alike(tmp_path, monkeypatch, layout, write_both, folder, seed):
    monkeypatch.setattr(hotcoco_reading, "is_installed", lambda: False)
    theirs = write_both(tmp_path, boxes(seed))
    ours = read(layout.LAYOUT, tmp_path)
    assert sorted(objects(ours, tmp_path)) == rows_of(theirs, folder)
    sizes = {(one["file_name"].removesuffix(".png"), one["width"], one["height"]) for one in theirs.dataset["images"]}
    assert sizes == {(image, WIDTH, HEIGHT) for image in IMAGES}
    assert len(ours.images) == len(IMAGES)
    assert {(one["width"], one["height"]) for one in ours.images} == {(WIDTH, HEIGHT)}
    assert sorted(ours.class_names.values()) == sorted(one["name"] for one in theirs.dataset["categories"])

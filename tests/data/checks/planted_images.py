"""A small COCO folder of soft pictures, and faults of image files planted into it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFilter

WIDTH, HEIGHT = 96, 72
IMAGES = {"train": (11, 12, 13, 14), "val": (21, 22)}  # ids


def scene(seed: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """A picture of soft patches, as photos have."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))


def write_folder(root: Path) -> Path:
    """Two parts with two classes, every image with an object of each."""
    (root / "annotations").mkdir(parents=True)
    for part, ids in IMAGES.items():
        (root / part).mkdir()
        images, objects = [], []
        for key in ids:
            scene(key).save(file_of(root, part, key))
            images.append({"id": key, "file_name": f"{key}.png", "width": WIDTH, "height": HEIGHT})
            objects += [_object(key, category) for category in (3, 7)]
        categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
        content = {"images": images, "categories": categories, "annotations": objects}
        json_of(root, part).write_text(json.dumps(content))
    return root


def _object(image: int, category: int) -> dict[str, Any]:
    x, y, width, height = 10 * category - 20, 5 * category, 20, 30
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return {
        "id": 10 * image + category,
        "image_id": image,
        "category_id": category,
        "bbox": [x, y, width, height],
        "area": width * height,
        "segmentation": [corners],
        "iscrowd": 0,
    }


def file_of(root: Path, part: str, key: int) -> Path:
    """Path of an image."""
    return root / part / f"{key}.png"


def json_of(root: Path, part: str) -> Path:
    """Path of the annotations."""
    return root / "annotations" / f"instances_{part}.json"


def change_image_entry(root: Path, part: str, key: int, **values: Any) -> None:
    """Changes what the annotations say of an image; None removes."""
    content = json.loads(json_of(root, part).read_text())
    entry = next(image for image in content["images"] if image["id"] == key)
    entry.update(values)
    for name in [name for name, value in values.items() if value is None]:
        del entry[name]
    json_of(root, part).write_text(json.dumps(content))


class Planted(NamedTuple):
    """A fault and where it has to be found."""

    plant: Callable[[Path], None]
    kind: str
    severity: str
    file: str
    image_id: str


def _saved(make: Callable[[Image.Image], Image.Image], **options: Any) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        path = file_of(root, "train", 12)
        make(Image.open(path)).save(path, **options)

    return plant


def _cut(root: Path) -> None:
    path = file_of(root, "train", 12)
    path.write_bytes(path.read_bytes()[:-3000])


def _transparent(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putpixel((0, 0), (1, 2, 3, 0))
    return image


def _deep(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 8)


def _copied(part: str, key: int) -> Callable[[Path], None]:
    return lambda root: file_of(root, part, key).write_bytes(file_of(root, "train", 12).read_bytes())


def _saved_again(root: Path) -> None:
    Image.open(file_of(root, "train", 12)).save(file_of(root, "val", 22), format="JPEG", quality=90)


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


_TRAIN_12 = ("train/12.png", "12")
PLANTED = {
    "missing": Planted(lambda root: file_of(root, "train", 12).unlink(), "missing-image", "error", *_TRAIN_12),
    "empty": Planted(
        lambda root: file_of(root, "train", 12).write_bytes(b""), "empty-image-file", "error", *_TRAIN_12
    ),
    "unreadable": Planted(
        lambda root: file_of(root, "train", 12).write_text("<html>"), "unreadable-image", "error", *_TRAIN_12
    ),
    "truncated": Planted(_cut, "truncated-image", "error", *_TRAIN_12),
    "EXIF turn": Planted(_saved(lambda image: image, exif=_turned()), "exif-turn-ignored", "error", *_TRAIN_12),
    "16 bits": Planted(_saved(_deep), "dark-16-bit-image", "warning", *_TRAIN_12),
    "alpha": Planted(_saved(_transparent), "transparent-image", "note", *_TRAIN_12),
    "palette": Planted(_saved(lambda image: image.quantize(64)), "palette-image", "note", *_TRAIN_12),
    "CMYK": Planted(
        _saved(lambda image: image.convert("CMYK"), format="JPEG"), "cmyk-image", "note", *_TRAIN_12
    ),
    "float": Planted(_saved(lambda image: image.convert("F"), format="TIFF"), "unusable-pixels", "error", *_TRAIN_12),
    "wrong size": Planted(
        lambda root: change_image_entry(root, "train", 12, width=80), "wrong-image-size", "error", *_TRAIN_12
    ),
    "swapped size": Planted(
        lambda root: change_image_entry(root, "train", 12, width=HEIGHT, height=WIDTH),
        "swapped-image-size", "error", *_TRAIN_12,
    ),
    "missing size": Planted(
        lambda root: change_image_entry(root, "train", 12, width=None),
        "missing-image-size", "error", "annotations/instances_train.json", "12",
    ),
    "exact duplicate": Planted(_copied("train", 14), "exact-duplicate", "warning", *_TRAIN_12),
    "leak": Planted(_copied("val", 22), "leaked-image", "warning", *_TRAIN_12),
    "near leak": Planted(_saved_again, "nearly-leaked-image", "warning", *_TRAIN_12),
}  # fmt: skip

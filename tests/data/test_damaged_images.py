"""Damaged image files, and images that augmentations cannot take: an image, or an error that names the file."""

import io
import random

import numpy as np
import pytest
from detectron2.data import transforms as T
from PIL import Image

from focalnet_d2.data.geometry import Geometry
from focalnet_d2.data.image_reading import read_image
from focalnet_d2.data.mappers import DetectionMapper
from tests.fuzzing import fuzz_count

FORMATS = {
    "png": {},
    "jpg": {"format": "jpeg"},
    "tif": {"format": "tiff", "compression": "tiff_lzw"},
    "bmp": {},
    "gif": {},
    "webp": {},
}


def image_bytes(random_numbers, suffix):
    pixels = random_numbers.randbytes(20 * 24 * 3)
    target = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    Image.frombytes("RGB", (24, 20), pixels).save(target, **({"format": suffix, "exif": exif} | FORMATS[suffix]))
    return target.getvalue()


def damaged(random_numbers, content):
    """Cut, with flipped bits, with a piece that is gone, or empty."""
    kind = random_numbers.choice(["cut", "bits", "bits", "gone", "empty"])
    if kind == "cut":
        return content[: random_numbers.randrange(len(content))]
    if kind == "gone":
        start = random_numbers.randrange(len(content))
        return content[:start] + content[start + random_numbers.randrange(1, 40) :]
    changed = bytearray(content if kind == "bits" else b"")
    for _ in range(random_numbers.randrange(1, 6) if changed else 0):
        changed[random_numbers.randrange(min(len(changed), 200))] ^= 1 << random_numbers.randrange(8)
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(fuzz_count(25)))
def test_a_damaged_image_reads_or_is_named(tmp_path, seed):
    random_numbers = random.Random(seed)
    content = damaged(random_numbers, image_bytes(random_numbers, random_numbers.choice(list(FORMATS))))
    path = tmp_path / f"photo.{random_numbers.choice(list(FORMATS))}"  # often another suffix than the format
    path.write_bytes(content)
    try:
        pixels, message = read_image(str(path)), str(path)
    except ValueError as error:
        pixels, message = np.zeros((1, 1, 3), np.uint8), str(error)
    assert str(path) in message
    assert (pixels.dtype, pixels.ndim) == (np.uint8, 3)


def mapped(folder, size, *augmentations):
    path = folder / "photo.png"
    Image.new("RGB", size).save(path)
    record = {"file_name": str(path), "width": size[0], "height": size[1], "annotations": []}
    return DetectionMapper(True, augmentations=augmentations)(record)


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000), (2, 900)])
@pytest.mark.parametrize("wrap", [lambda resize: resize, lambda resize: Geometry([resize])])
def test_an_image_too_thin_to_be_resized_is_named(tmp_path, size, wrap):
    message = rf"photo\.png of {size[0]} x {size[1]} pixels cannot be augmented .* too thin to be resized; crop it"
    with pytest.raises(ValueError, match=message):
        mapped(tmp_path, size, wrap(T.ResizeShortestEdge(128, 213)))


@pytest.mark.parametrize("error", [AssertionError(), IndexError("index 3"), RuntimeError("no"), TypeError("x")])
def test_an_error_within_an_augmentation_names_the_file(tmp_path, error):
    class Failing(T.Augmentation):
        def get_transform(self, image):
            raise error

    with pytest.raises(ValueError, match=r"photo\.png of 8 x 6 pixels cannot be augmented \(.+\)") as caught:
        mapped(tmp_path, (8, 6), Failing())
    assert caught.value.__cause__ is error

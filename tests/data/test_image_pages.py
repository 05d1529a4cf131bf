"""Files with several images: the first one is read, and a warning says so."""

import io

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.data.pixels import decode_image
from focalnet_d2.utils import warnings_once

FRAMES = [Image.new("RGB", (20, 10), (value, 0, 0)) for value in (10, 90, 200)]


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(warnings_once, "_said", set())


def file_of(frames: list[Image.Image], image_format: str, **options) -> bytes:
    file = io.BytesIO()
    several = {"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(file, image_format, **several, **options)
    return file.getvalue()


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "TIFF", "WEBP"])
def test_the_first_image_is_read_and_the_others_are_named_once(image_format, caplog):
    content = file_of(FRAMES, image_format)
    for _ in range(2):
        assert np.asarray(decode_image(content, "a.x").convert("RGB"))[0, 0, 0] == pytest.approx(10, abs=4)
    assert caplog.text.count("The image file a.x holds 3 images, of which only the first is read.") == 1


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "TIFF", "WEBP", "JPEG"])
def test_files_of_one_image_are_nothing_special(image_format, caplog):
    decode_image(file_of(FRAMES[:1], image_format), "a.x")
    assert caplog.text == ""


def test_smaller_copies_and_previews_are_no_other_images(caplog):
    """Overviews of a GeoTIFF; what cameras put behind a JPEG."""
    file = io.BytesIO()
    with Image.new("RGB", (20, 10)) as whole, Image.new("RGB", (10, 5)) as copy:
        copy.encoderinfo = {"tiffinfo": {254: 1}}
        whole.save(file, "TIFF", save_all=True, append_images=[copy])
    image = Image.open(io.BytesIO(file.getvalue()))
    image.seek(1)
    assert image.tag_v2[254] == 1
    decode_image(file.getvalue(), "a.tif")
    decode_image(file_of(FRAMES, "MPO"), "a.jpg")
    assert caplog.text == ""

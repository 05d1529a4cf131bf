"""Each planted fault of an image file is found under its kind, with file and id; sound files report nothing."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.data.checks.images import Said, look_at_image
from focalnet_d2.data.image_reading import read_image

HEIGHT, WIDTH = 40, 60


def photo(mode="RGB", size=(WIDTH, HEIGHT)):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image, file_format="PNG", **options):
    target = io.BytesIO()
    image.save(target, file_format, **options)
    return target.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photo(), "JPEG", exif=exif)


def deep(highest):
    values = np.linspace(0, highest, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    return encoded(Image.fromarray(values))


def deep_color():
    """A color PNG of 16 bits, which Pillow cannot write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + bytes(WIDTH * 6) for _ in range(HEIGHT))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def transparent():
    image = photo("RGBA")
    image.putpixel((3, 3), (10, 20, 30, 100))
    return encoded(image)


SAID = (HEIGHT, WIDTH)
# name of the file, its content, the size in the annotations -> kind and severity
PLANTED = {
    "missing": ("a.png", lambda: None, SAID, "missing-image", "error"),
    "empty": ("a.jpg", lambda: b"", SAID, "empty-image-file", "error"),
    "no image": ("a.jpg", lambda: b"<html>not found</html>", SAID, "unreadable-image", "error"),
    "cut JPEG": ("a.jpg", lambda: encoded(photo(), "JPEG")[:-700], SAID, "truncated-image", "error"),
    "cut PNG": ("a.png", lambda: encoded(photo())[:-2000], SAID, "truncated-image", "error"),
    "float": ("a.tif", lambda: encoded(photo("F"), "TIFF"), SAID, "unusable-pixels", "error"),
    "no size": ("a.png", lambda: encoded(photo()), None, "missing-image-size", "error"),
    "wrong size": ("a.png", lambda: encoded(photo()), (HEIGHT, WIDTH + 1), "wrong-image-size", "error"),
    "swapped size": ("a.png", lambda: encoded(photo()), (WIDTH, HEIGHT), "swapped-image-size", "error"),
    "size before the turn": ("a.jpg", lambda: turned(6), SAID, "exif-turn-ignored", "error"),
    "size after the turn": ("a.jpg", lambda: turned(6), (WIDTH, HEIGHT), "exif-turned-image", "note"),
    "upside down": ("a.jpg", lambda: turned(3), SAID, "exif-turned-image", "warning"),
    "dark 16 bits": ("a.png", lambda: deep(1000), SAID, "dark-16-bit-image", "warning"),
    "16 bits": ("a.png", lambda: deep(65535), SAID, "16-bit-image", "note"),
    "colors of 16 bits": ("a.png", deep_color, SAID, "16-bit-image", "note"),
    "alpha": ("a.png", transparent, SAID, "transparent-image", "note"),
    "palette": ("a.png", lambda: encoded(photo("P")), SAID, "palette-image", "note"),
    "CMYK": ("a.jpg", lambda: encoded(photo("CMYK"), "JPEG"), SAID, "cmyk-image", "note"),
    "extension": ("a.jpg", lambda: encoded(photo()), SAID, "wrong-extension", "note"),
    "elongated": ("a.png", lambda: encoded(photo(size=(400, 20))), (20, 400), "elongated-image", "warning"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_found(tmp_path, planted):
    name, make, size, kind, severity = PLANTED[planted]
    path = tmp_path / name
    if (content := make()) is not None:
        path.write_bytes(content)
    looked = look_at_image(str(path), Said("train.json", "17", size, must_have_size=True))
    assert [(fault.kind, fault.severity, fault.ids) for fault in looked.faults] == [(kind, severity, ("17",))]
    (fault,) = looked.faults
    assert fault.file in (str(path), "train.json")
    assert fault.file in fault.message
    assert fault.message.endswith(".")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", encoded(photo())),
        ("a.jpeg", encoded(photo(), "JPEG")),
        ("a.png", encoded(photo("L"))),
        ("a.png", encoded(photo("RGBA"))),
        ("a.webp", encoded(photo(), "WEBP", lossless=True)),
        ("a", encoded(photo())),
    ],
)
def test_sound_files_report_nothing(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    looked = look_at_image(str(path), Said("train.json", "17", SAID, must_have_size=True))
    assert looked.faults == []


@pytest.mark.parametrize("planted", [name for name, row in PLANTED.items() if row[1]() is not None])
def test_what_is_looked_at_is_what_training_reads(tmp_path, planted):
    name, make, size, *_ = PLANTED[planted]
    path = tmp_path / name
    path.write_bytes(make())
    looked = look_at_image(str(path), Said("train.json", "17", size))
    if looked.image is None:
        with pytest.raises(ValueError, match=r"a\.(png|jpg|tif) "):
            read_image(str(path))
    else:
        assert np.array_equal(np.asarray(looked.image), read_image(str(path)))


def test_an_image_with_too_many_pixels_is_to_be_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    (fault,) = look_at_image(str(tmp_path / "a.png"), Said("x.json", "7")).faults
    assert (fault.kind, fault.ids) == ("too-large-image", ("7",))
    assert fault.message.endswith("a.png has more than 200 pixels: cut it into pieces, or predict it by tiles.")

"""Every kind of image file has one exact meaning, or an error that names the file."""

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.data import pixels
from focalnet_d2.data.image_reading import read_image

COLORS = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3) * 2


def saved(path, image, **options):
    image.save(path, **options)
    return str(path)


def test_rgb_and_bgr(tmp_path):
    path = saved(tmp_path / "colour.png", Image.fromarray(COLORS))
    assert np.array_equal(read_image(path), COLORS)
    assert np.array_equal(read_image(path, "BGR"), COLORS[..., ::-1])
    assert read_image(path).flags.writeable


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_gray_one_bit_and_palette_become_color(tmp_path, mode):
    values = np.array([[0, 255, 0], [255, 255, 0]], np.uint8)
    gray = Image.fromarray(values)
    path = saved(tmp_path / "grey.png", gray.convert(mode))
    assert Image.open(path).mode == mode
    assert np.array_equal(read_image(path), np.repeat(values[..., None], 3, axis=2))


def test_palette_gives_its_colors(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    image.putpalette([10, 20, 30, 200, 100, 0, 1, 2, 3])
    expected = [[[10, 20, 30], [200, 100, 0]], [[1, 2, 3], [200, 100, 0]]]
    assert read_image(saved(tmp_path / "palette.png", image)).tolist() == expected


def test_transparent_pixels_show_white_not_their_hidden_color(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0] = [[200, 0, 0, 0], [200, 0, 0, 255], [0, 0, 0, 51]]
    path = saved(tmp_path / "alpha.png", Image.fromarray(pixels))
    assert read_image(path).tolist() == [[[255, 255, 255], [200, 0, 0], [204, 204, 204]]]


def test_transparent_palette_entry_shows_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    image.putpalette([10, 20, 30, 200, 100, 0])
    path = saved(tmp_path / "palette.png", image, transparency=0)
    assert read_image(path).tolist() == [[[255, 255, 255], [200, 100, 0]]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_gray_is_divided_by_257(tmp_path, suffix):
    values = np.array([[0, 128, 129, 257], [32768, 40000, 65406, 65535]], np.uint16)
    path = saved(tmp_path / f"deep.{suffix}", Image.fromarray(values))
    assert read_image(path)[..., 0].tolist() == [[0, 0, 1, 1], [128, 156, 254, 255]]


@pytest.mark.parametrize(
    ("values", "is_dark"), [([[0, 255]], True), ([[0, 4095]], True), ([[0, 4096]], False), ([[0]], False)]
)
def test_16_bit_values_of_a_smaller_range_are_said_once(tmp_path, caplog, monkeypatch, values, is_dark):
    monkeypatch.setattr(pixels, "_warned_of", [])
    for name in ("first.png", "second.png"):
        read_image(saved(tmp_path / name, Image.fromarray(np.array(values, np.uint16))))
    assert len(caplog.records) == is_dark
    assert ("first.png has no value above" in caplog.text) == is_dark


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_without_an_8_bit_range_are_refused(tmp_path, dtype):
    path = saved(tmp_path / "odd.tif", Image.fromarray(np.ones((2, 2), dtype)))
    with pytest.raises(ValueError, match=r"odd\.tif has pixels of Pillow's mode '[FI]'"):
        read_image(path)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees
    path = saved(tmp_path / "turned.png", Image.fromarray(COLORS), exif=exif)
    assert np.array_equal(read_image(path), np.rot90(COLORS, -1))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png does not exist"):
        read_image(str(tmp_path / "nowhere.png"))


@pytest.mark.parametrize("content", [b"", b"not an image", "truncated png", "truncated jpg"])
def test_unreadable_file_is_named(tmp_path, content):
    path = tmp_path / "broken.img"
    if isinstance(content, str):
        pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(path, format=content.split()[1].replace("jpg", "jpeg"))
        content = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.img cannot be read"):
        read_image(str(path))


def test_unknown_format():
    with pytest.raises(ValueError, match="image_format='YUV' must be one of RGB, BGR"):
        read_image("any.png", "YUV")

"""Image files of any number of channels: every value as it was written."""

import io
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from focalnet_d2.data import image_reading
from focalnet_d2.data.image_reading import read_channels, read_image, read_orientation_and_size
from tests.data.channel_images import channel_format, noise, write_tiff


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 13])
def test_a_tiff_gives_the_values_that_were_written(tmp_path, dtype, count):
    values = noise(6, 9, count, dtype=dtype)
    file = str(write_tiff(tmp_path / "a.tif", values))
    found = read_channels(file)
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)
    assert read_orientation_and_size(file) == (1, (6, 9))


@pytest.mark.parametrize(
    ("axes", "options"),
    [
        ((2, 0, 1), {"planarconfig": "separate"}),
        ((0, 1, 2), {"compression": "deflate"}),
        ((0, 1, 2), {"tile": (16, 16)}),
        ((0, 1, 2), {"bigtiff": True}),
        ((0, 1, 2), {"byteorder": ">"}),
        ((2, 0, 1), {"photometric": None, "planarconfig": None}),  # pages, the axes without a name
        ((0, 1, 2), {"photometric": None, "planarconfig": None}),
        ((2, 0, 1), {"photometric": None, "planarconfig": None, "imagej": True}),
    ],
)
def test_the_place_of_the_channels_in_the_file_does_not_matter(tmp_path, axes, options):
    values = noise(20, 36, 5)
    file = str(write_tiff(tmp_path / "a.tif", np.ascontiguousarray(values.transpose(axes)), **options))
    assert np.array_equal(read_channels(file), values)
    assert read_orientation_and_size(file) == (1, (20, 36))


@pytest.mark.parametrize(("mode", "count"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_pillow_formats_give_all_their_channels(tmp_path, mode, count):
    values = noise(6, 9, count, dtype="uint8")
    Image.frombytes(mode, (9, 6), values.tobytes()).save(tmp_path / "a.png")
    assert np.array_equal(read_channels(str(tmp_path / "a.png")), values)


def test_gray_of_16_bits_keeps_them(tmp_path):
    values = noise(6, 9)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.array_equal(read_channels(str(tmp_path / "a.png")), values[..., None])


def test_floats_of_64_bits_become_floats_of_32(tmp_path):
    values = np.random.RandomState(0).rand(4, 5, 2)
    found = read_channels(str(write_tiff(tmp_path / "a.tif", values)))
    assert found.dtype == np.float32
    assert np.array_equal(found, values.astype(np.float32))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_upright_as_pillow_turns_it(tmp_path, monkeypatch, orientation):
    values = noise(6, 9, 3, dtype="uint8")
    options = {"photometric": "rgb", "extratags": [(274, "H", 1, orientation, True)]}
    file = write_tiff(tmp_path / "a.tif", values, **options)
    with Image.open(file) as image:
        expected = np.array(image)  # Pillow turns TIFFs while it reads them
    assert np.array_equal(read_channels(str(file)), expected)
    assert read_orientation_and_size(str(file)) == (orientation, expected.shape[:2])
    assert np.array_equal(read_image(str(file)), expected)
    monkeypatch.setattr(image_reading, "has_tiff_reader", lambda: False)
    assert read_orientation_and_size(str(file)) == (orientation, expected.shape[:2])


def sixteen_bit_colors() -> bytes:
    """The head of a PNG of 16-bit colors around 8-bit ones, which Pillow looks at no further."""
    target = io.BytesIO()
    Image.new("RGB", (2, 2)).save(target, "PNG")
    content = bytearray(target.getvalue())
    content[24] = 16
    return bytes(content)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: write_tiff(path, noise(4, 5, 2).astype(np.int32)), "values of type int32"),
        (lambda path: tifffile.imwrite(path, noise(2, 40, 30, 3)), "no single image with channels"),
        (lambda path: Image.new("P", (4, 4)).save(path, "PNG"), "mode 'P'"),
        (lambda path: Image.new("P", (4, 4)).save(path, "TIFF"), "has a palette"),
        (lambda path: path.write_bytes(b"II*\0" + b"\xff" * 20), "cannot be read"),
        (lambda path: path.write_bytes(b"II*\0"), "cannot be read"),
    ],
)
def test_what_has_no_channels_is_one_error_that_names_the_file(tmp_path, write, message):
    path = tmp_path / "odd.tif"
    write(path)
    with pytest.raises(ValueError, match=message) as error:
        read_channels(str(path))
    assert str(path) in str(error.value)
    assert str(error.value).endswith(".")


def test_a_missing_reader_is_said_with_the_command_that_installs_it(tmp_path, monkeypatch):
    file = write_tiff(tmp_path / "a.tif", noise(4, 5, 5))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ValueError, match=r"pip install 'focalnet-d2\[tiff\]'"):
        read_channels(str(file))


def test_a_codec_that_is_missing_is_named(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    file = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "height": 8, "width": 9, "count": 5, "dtype": "uint16", "compress": "lzw"}
    with rasterio.open(file, "w", **profile) as target:
        target.write(noise(5, 8, 9))
    if not _has_imagecodecs():
        with pytest.raises(ValueError, match="pip install imagecodecs"):
            read_channels(str(file))
    assert read_orientation_and_size(str(file)) == (1, (8, 9))


def _has_imagecodecs() -> bool:
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        return False
    return True


# What is wanted of the channels


def test_channels_are_chosen_by_their_numbers_in_the_file(tmp_path):
    values = noise(6, 9, 8)
    file = str(write_tiff(tmp_path / "a.tif", values))
    found = read_image(file, channel_format(stored=8, channels=(3, 2, 1, 7)))
    assert np.array_equal(found, values[..., [3, 2, 1, 7]])


@pytest.mark.parametrize(("dtype", "count"), [("uint8", 5), ("float32", 5), ("uint16", 4), ("uint16", 6)])
def test_another_type_or_number_than_that_of_the_training_is_refused(tmp_path, dtype, count):
    file = write_tiff(tmp_path / "a.tif", noise(6, 9, count, dtype=dtype))
    with pytest.raises(ValueError, match=rf"a\.tif has {count} channels of {dtype}, but 5 channels of uint16"):
        read_image(str(file), channel_format())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused_where_they_are_used(tmp_path, value):
    values = noise(6, 9, 2, dtype="float32")
    values[2, 3, 1] = value
    file = str(write_tiff(tmp_path / "a.tif", values))
    with pytest.raises(ValueError, match=r"NaN or infinite \(1 values\)"):
        read_image(file, channel_format("float32", 2))
    assert read_image(file, channel_format("float32", 2, (0,))).shape == (6, 9, 1)

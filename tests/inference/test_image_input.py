"""One image in, whatever it comes as: the same pixels, or one sentence."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from focalnet_d2.data.image_reading import read_image
from focalnet_d2.inference.image_input import read_input


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def png(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def test_all_forms_of_an_image_give_the_same_pixels(pixels, tmp_path):
    image, path = Image.fromarray(pixels), tmp_path / "image.png"
    path.write_bytes(png(image))
    deep, share = pixels.astype(np.uint16) * 257, pixels.astype(np.float32) / 255
    first = torch.from_numpy(pixels).permute(2, 0, 1)
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    sources = (
        *(path, str(path), path.read_bytes(), image, Image.open(path), pixels, pixels[:, ::-1][:, ::-1], deep, share),
        *(share.astype(np.float64), first, first.double() / 255, opaque, torch.from_numpy(opaque).permute(2, 0, 1)),
    )
    for source in sources:
        assert np.array_equal(read_input(source).pixels, pixels)
    assert read_input(path).path == path
    assert read_input(image).path is None


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
def test_gray_arrays_have_three_equal_colors(shape):
    gray = np.arange(35, dtype=np.uint8).reshape(shape)
    assert np.array_equal(read_input(gray).pixels, np.repeat(gray.reshape(5, 7, 1), 3, axis=2))


def test_the_order_of_colors_is_that_of_arrays_alone(pixels):
    assert np.array_equal(read_input(pixels, "BGR").pixels, pixels[..., ::-1])
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    assert np.array_equal(read_input(opaque, "BGR").pixels, pixels[..., ::-1])
    assert np.array_equal(read_input(Image.fromarray(pixels), "BGR").pixels, pixels)
    with pytest.raises(ValueError, match="channel_order='rgb' must be one of RGB, BGR"):
        read_input(pixels, "rgb")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16"])
def test_arrays_follow_the_rules_of_files(mode, tmp_path):
    draws = np.random.default_rng(1)
    if mode == "I;16":
        values = draws.integers(0, 65536, (4, 6), dtype=np.uint16)
        file = Image.fromarray(values)
    else:
        values = draws.integers(0, 256, (4, 6, 4), dtype=np.uint8)
        file = Image.fromarray(values)
    path = tmp_path / "image.png"
    path.write_bytes(png(file))
    assert np.array_equal(read_input(values).pixels, read_image(str(path)))
    assert np.array_equal(read_input(file).pixels, read_image(str(path)))


def test_bytes_and_pillow_images_are_turned_upright(pixels, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = png(Image.fromarray(pixels), exif=exif.tobytes())
    for source in (content, Image.open(io.BytesIO(content))):
        assert np.array_equal(read_input(source).pixels, np.rot90(pixels, -1))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((5, 7, 2), np.uint8), r"array uint8 \(5, 7, 2\) is no image.*1, 3 or 4 channels"),
        (np.zeros((0, 7, 3), np.uint8), r"array uint8 \(0, 7, 3\) is no image: it has no pixels"),
        (np.zeros((1, 5, 7, 3), np.uint8), r"array uint8 \(1, 5, 7, 3\) is no image.*list\(array\)"),
        (torch.zeros(2, 3, 5, 7), r"tensor float32 \(2, 3, 5, 7\) is no image.*list\(array\)"),
        (torch.zeros(5, 7, 3), r"tensor float32 \(5, 7, 3\) is no image.*\(3, H, W\)"),
        (torch.zeros(5, 7), r"tensor float32 \(5, 7\) is no image"),
        (np.zeros((5, 7, 3), np.int64), "array int64 .* without a fixed range"),
        (np.full((5, 7, 3), np.nan, np.float32), "pixels that are NaN or infinite"),
        (np.full((5, 7, 3), 128.0), "from 128 to 128: floats must be from 0 to 1"),
        (np.full((5, 7), -0.5), "from -0.5 to -0.5: floats must be from 0 to 1"),
        (b"no image", "image file of 8 bytes in memory cannot be read .it is no image"),
        (Image.new("F", (4, 3)), "of Pillow in memory .F, 4x3. has pixels of Pillow's mode 'F'"),
    ],
)
def test_what_is_no_image_is_said_in_one_sentence(source, message):
    with pytest.raises(ValueError, match=message):
        read_input(source)


def test_floats_may_leave_their_range_by_less_than_rounding_takes_away():
    values = np.array([[-0.001, 0.0, 0.5, 1.0, 1.001]], np.float32)
    assert read_input(values).pixels[..., 0].tolist() == [[0, 0, 128, 255, 255]]


def test_files_that_are_no_image_are_named(tmp_path):
    text = tmp_path / "notes.jpg"
    text.write_text("hello")
    with pytest.raises(ValueError, match=r"notes.jpg cannot be read .it is no image"):
        read_input(text)
    with pytest.raises(FileNotFoundError, match=r"missing.jpg does not exist"):
        read_input(tmp_path / "missing.jpg")
    with pytest.raises(TypeError, match="A dict is no image"):
        read_input({})


@pytest.mark.parametrize("wrap", [bytearray, memoryview])
def test_bytes_may_be_of_any_type(wrap, pixels):
    assert np.array_equal(read_input(wrap(png(Image.fromarray(pixels)))).pixels, pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_deep_arrays_may_have_any_byte_order(order, pixels):
    assert np.array_equal(read_input((pixels.astype(np.uint16) * 257).astype(f"{order}u2")).pixels, pixels)


def test_gray_that_is_multiplied_by_its_alpha_is_laid_over_white():
    gray = Image.merge("LA", [Image.new("L", (3, 2), 0), Image.new("L", (3, 2), 128)])
    assert np.array_equal(read_input(gray.convert("La")).pixels, read_input(gray).pixels)


@pytest.mark.parametrize(
    "source",
    [
        torch.zeros(3, 4, 4, device="meta"),
        torch.zeros(3, 4, 4).to_sparse(),
        torch.zeros(3, 4, 4, dtype=torch.float8_e4m3fn),
        torch.quantize_per_tensor(torch.zeros(3, 4, 4), 0.1, 0, torch.quint8),
        torch.zeros(3, 4, 4, dtype=torch.complex64).conj(),
    ],
)
def test_tensors_that_hold_no_plain_values_are_named(source):
    with pytest.raises(ValueError, match=r"The tensor \w+ \(3, 4, 4\) holds no plain values: give a dense"):
        read_input(source)


def test_a_tensor_may_be_a_view_of_its_opposite(pixels):
    opposite = -(torch.from_numpy(pixels).permute(2, 0, 1) / 255)
    assert np.array_equal(read_input(torch._neg_view(opposite)).pixels, read_input(-opposite).pixels)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_tensors_of_several_shapes_are_said_to_be_that():
    with pytest.raises(ValueError, match="tensor float32 of several shapes holds no plain values"):
        read_input(torch.nested.nested_tensor([torch.zeros(3, 4), torch.zeros(3, 5)]))


def test_values_that_are_masked_are_not_taken_for_pixels(pixels):
    assert np.array_equal(read_input(np.ma.masked_array(pixels)).pixels, pixels)
    with pytest.raises(ValueError, match=r"has masked values: say what they are, as by array.filled\(0\)"):
        read_input(np.ma.masked_array(pixels, pixels > 9))


@pytest.mark.parametrize("source", [Image.new("RGB", (0, 5)), np.zeros((0, 5)), torch.zeros(1, 5, 0)])
def test_an_image_without_pixels_is_said_to_have_none(source):
    with pytest.raises(ValueError, match="has no pixels"):
        read_input(source)


@pytest.mark.parametrize("source", ["", "a\0.png"])
def test_what_is_no_path_is_said(source):
    with pytest.raises(ValueError, match=r"'.*' is no path: name an image"):
        read_input(source)


def test_a_folder_or_a_video_is_not_one_image(tmp_path):
    for source, kind in ((tmp_path, "folder"), (tmp_path / "a.mp4", "video")):
        with pytest.raises(ValueError, match=f"{source} is a {kind} where one image is wanted"):
            read_input(source)


def test_a_name_may_begin_as_that_of_a_home_folder(pixels, tmp_path, monkeypatch):
    """Of nobody, as those of temporary files do."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels).save("~$photo.png")
    assert np.array_equal(read_input("~$photo.png").pixels, pixels)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_input("~/~$photo.png").path == tmp_path / "~$photo.png"

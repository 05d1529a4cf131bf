"""Windows of resized images are those of Pillow, bit for bit, with and without the compiled library."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from focalnet_d2.kernels import window_resize
from focalnet_d2.kernels.window_resize import LIBRARY, WINDOW_RESIZE, resize_window

each_implementation = pytest.mark.parametrize("implementation", ["compiled", "pillow"])


def resize_by(implementation, *arguments):
    """By Pillow, or by whatever is taken where the library is there."""
    if implementation == "compiled":
        if LIBRARY.load() is None:
            pytest.skip(LIBRARY.unavailable_reason())
        return resize_window(*arguments)
    with WINDOW_RESIZE.only("pillow"):
        return resize_window(*arguments)


@each_implementation
@given(data=st.data(), seed=st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_any_window_of_any_size_is_pillows(implementation, data, seed):
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    layout = data.draw(st.sampled_from(["as read", "mirrored", "planes", "part of a larger image"]))
    if layout == "mirrored":
        image = image[:, ::-1]
    elif layout == "planes":
        image = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    elif layout == "part of a larger image":
        image = image[height // 3 :, width // 3 :]
    new_height, new_width = data.draw(st.integers(1, 130)), data.draw(st.integers(1, 130))
    top, left = data.draw(st.integers(0, new_height - 1)), data.draw(st.integers(0, new_width - 1))
    rows, columns = data.draw(st.integers(1, new_height - top)), data.draw(st.integers(1, new_width - left))
    whole = Image.fromarray(np.ascontiguousarray(image)).resize((new_width, new_height), Image.BILINEAR)
    expected = np.asarray(whole)[top : top + rows, left : left + columns]
    found = resize_by(implementation, image, (new_height, new_width), (top, left, rows, columns))
    assert np.array_equal(found, expected)


@each_implementation
@pytest.mark.parametrize("scale", [1.0, 1.37, 3.2])
def test_photo_sizes_are_pillows(implementation, scale):
    image = np.random.default_rng(0).integers(0, 256, (427, 640, 3), np.uint8)
    height, width = round(427 * scale), round(640 * scale)
    expected = np.asarray(Image.fromarray(image).resize((width, height), Image.BILINEAR))
    window = (height // 5, width // 7, height // 2, width // 2)
    top, left, rows, columns = window
    found = resize_by(implementation, image, (height, width), window)
    assert np.array_equal(found, expected[top : top + rows, left : left + columns])


def test_library_is_taken_where_there_is_one():
    if LIBRARY.load() is None:
        pytest.skip(LIBRARY.unavailable_reason())
    assert WINDOW_RESIZE.available("cpu", torch.uint8)[0].name == "compiled"
    planes = resize_window(np.zeros((4, 4, 3), np.uint8), (8, 8), (0, 0, 8, 8)).transpose(2, 0, 1)
    assert planes.flags.c_contiguous


def test_library_that_disagrees_with_pillow_is_left_alone(monkeypatch):
    monkeypatch.setattr(
        window_resize, "_enlarge_by_library", lambda image, size, window: np.zeros((*size, 3), np.uint8)
    )
    assert window_resize._disagreement.__wrapped__()

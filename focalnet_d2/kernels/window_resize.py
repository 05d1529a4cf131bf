"""Bilinear resizing of a window of an image, bit for bit as Pillow resizes all of it.

Large-scale jitter enlarges a photo to as much as four times the pixels that are kept. An enlargement is computed for
the window alone by a small C++ library (window_resize.cpp) where there is a compiler; otherwise Pillow stretches the
rows, and then only the columns of the window. Pillow also shrinks, which is cheap and whose order of rows and columns
differs between its releases.
"""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .compiler import CompiledLibrary
from .dispatch import Computation, Implementation

LIBRARY = CompiledLibrary(Path(__file__).with_name("window_resize.cpp"))
_ONE = 1 << 22  # Pillow's weights are integers with so many parts of one

Window = tuple[int, int, int, int]  # top, left, height, width


def _enlarges(image: np.ndarray, size: tuple[int, int]) -> bool:
    return size[0] >= image.shape[0] and size[1] >= image.shape[1]


def _resize_by_pillow(image: np.ndarray, size: tuple[int, int], window: Window) -> np.ndarray:
    """(H, W, 3) -> (height, width, 3) uint8. An enlargement is one of the rows first, and then of the columns."""
    top, left, height, width = window
    picture = _to_pillow(image)
    if _enlarges(image, size):
        rows = picture.resize((size[1], picture.height), Image.Resampling.BILINEAR).crop(
            (left, 0, left + width, picture.height)
        )
        picture, left = rows.resize((width, size[0]), Image.Resampling.BILINEAR), 0
    else:
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(picture)[top : top + height, left : left + width]


def _to_pillow(image: np.ndarray) -> Image.Image:
    if image.strides[1] < 0:  # Pillow turns much faster than numpy copies backwards
        return Image.fromarray(image[:, ::-1]).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Image.fromarray(image)


def _enlarge_by_library(image: np.ndarray, size: tuple[int, int], window: Window) -> np.ndarray:
    """(H, W, 3) -> (height, width, 3) uint8, in memory three planes."""
    top, left, height, width = window
    columns = _neighbors(image.shape[1], size[1], left, width)
    rows = _neighbors(image.shape[0], size[0], top, height)
    planes = np.empty((3, height, width), np.uint8)
    number = ctypes.c_int64
    LIBRARY.function("enlarge_window")(
        *(_address(image), *map(number, image.strides), *map(number, image.shape[:2])),
        *(_address(columns), number(width), _address(rows), number(height)),
        *(_address(planes), number(planes.strides[1]), number(planes.strides[0])),
    )
    return planes.transpose(1, 2, 0)


def _neighbors(old: int, new: int, start: int, count: int) -> np.ndarray:
    """(3, count) int32: first neighbour of each of the new pixels from `start` on, its weight, the next one's weight.

    In the order of Pillow's operations, so that every rounding is the same. The weight of a pixel that is not there
    is 0.
    """
    center = (np.arange(start, start + count) + 0.5) * (old / new)
    first = np.maximum(center - 1 + 0.5, 0).astype(np.int32)
    last = np.minimum((center + 1 + 0.5).astype(np.int32), old) - 1
    shares = [np.maximum(1 - np.abs(pixel - center + 0.5), 0) for pixel in (first, first + 1)]
    shares[1][last == first] = 0
    total = shares[0] + shares[1]
    return np.stack([first, *((share / total * _ONE + 0.5).astype(np.int32) for share in shares)])


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@cache
def _disagreement() -> str:
    """Why the library is not taken: there is none, or this Pillow, which another compiler made, rounds otherwise."""
    if reason := LIBRARY.unavailable_reason():
        return reason
    image = np.random.RandomState(0).randint(0, 256, (37, 53, 3)).astype(np.uint8)
    for height, width in ((37, 53), (64, 91), (111, 159)):
        by_pillow = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        if not np.array_equal(by_pillow, _enlarge_by_library(image, (height, width), (0, 0, height, width))):
            return "this Pillow rounds otherwise"
    return ""


WINDOW_RESIZE = Computation(
    "resizing of a window",
    (
        Implementation(
            "compiled",
            _enlarge_by_library,
            "C++, compiled here on first use",
            devices=("cpu",),
            dtypes=(torch.uint8,),
            suits=lambda image, size, window: _enlarges(image, size) and 0 not in window[2:],
            unavailable_reason=_disagreement,
        ),
        Implementation("pillow", _resize_by_pillow, "Pillow"),
    ),
)


def resize_window(image: np.ndarray, size: tuple[int, int], window: Window) -> np.ndarray:
    """The window of the resized image, (height, width, 3) uint8; its memory may be three planes.

    Args:
        image: (H, W, 3) uint8, of any strides.
        size: (h, w) of the whole resized image.
        window: lies within it.
    """
    return WINDOW_RESIZE.choose("cpu", torch.uint8, image, size, window).compute(image, size, window)

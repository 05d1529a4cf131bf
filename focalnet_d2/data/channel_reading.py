"""Reads image files of any number of channels with the values that they hold; `channels.py` says what is made of them.

TIFF is read by tifffile, an optional package, and everything else by Pillow. Other modules need numpy and Pillow only.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from .channels import in_known_type
from .pixels import (
    FIRST_TURN,
    ORIENTATION,
    UPRIGHT,
    PixelFormat,
    UnusablePixelsError,
    decode_image,
    pixel_format,
    turned_upright,
)

INSTALL = "pip install 'focalnet-d2[tiff]'"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two are BigTIFF
BYTES_OF_TIFF = 4  # at the beginning of a file, which tell that it is one
_MOST_LAST = 64  # channels of an array whose axes nobody has named and that has its channels last
_NO_AMOUNTS = ("P", "PA", "1", "La", "RGBa")  # modes of Pillow: palettes, and colors times their alpha
_PALETTE = 3  # of TIFF's photometric interpretations


def has_tiff_reader() -> bool:
    """Whether tifffile is installed."""
    return find_spec("tifffile") is not None


def is_tiff(content: bytes) -> bool:
    """Whether a file begins as TIFF does."""
    return content[:BYTES_OF_TIFF] in _TIFF


def decode_channels(content: bytes, file_name: str) -> np.ndarray:
    """(H, W, C) of uint8, uint16, int16 or float32: the values of an image file, turned upright.

    Raises:
        ValueError: it cannot be decoded, or its values mean something else than the amount of a channel.
    """
    if is_tiff(content):
        return _decode_tiff(content, file_name)
    image = decode_image(content, file_name)
    if pixel_format(image, content) is PixelFormat.DEEP_COLOR:
        raise UnusablePixelsError(
            f"The image file {file_name} has colors of 16 bits, of which Pillow reads the upper 8 alone: save it as "
            "TIFF."
        )
    return channels_of_pillow(image, file_name)


def channels_of_pillow(image: Image.Image, name: str) -> np.ndarray:
    """(H, W, C) of a decoded image, turned upright.

    Raises:
        ValueError: its values mean something else than the amount of a channel, or have a type that is not known.
    """
    if image.mode in _NO_AMOUNTS:
        raise UnusablePixelsError(
            f"The image {name} has pixels of Pillow's mode {image.mode!r}, which are no values of channels: save it in "
            "gray or in colors of 8 bits, or as TIFF."
        )
    values = np.array(turned_upright(image))
    if image.mode == "I" and image.format == "PNG":  # of 16 bits, before Pillow 11.3
        values = values.astype(np.uint16)
    return in_known_type(values[..., None] if values.ndim == 2 else values, name)


def read_tiff_head(file: BinaryIO, file_name: str) -> tuple[int, tuple[int, int]]:
    """EXIF's orientation of the first image of a TIFF file, and its height and width as stored.

    Args:
        file: open to read, at any place.

    Raises:
        ValueError: tifffile is missing, or cannot read it, or it holds something else than one image with channels.
    """
    file.seek(0)
    with _opened(file, file_name) as tiff:
        series = tiff.series[0]
        _, (height, width, _) = _channels_last(series.axes, series.shape, file_name)
        return _orientation(tiff), (height, width)


def _decode_tiff(content: bytes, file_name: str) -> np.ndarray:
    """(H, W, C) of the first image of a TIFF file."""
    with _opened(io.BytesIO(content), file_name) as tiff:
        series = tiff.series[0]
        if series.keyframe.photometric == _PALETTE:
            raise UnusablePixelsError(
                f"The TIFF file {file_name} has a palette and no values of channels: save it in colors."
            )
        order, shape = _channels_last(series.axes, series.shape, file_name)
        values, orientation = series.asarray(), _orientation(tiff)
    return in_known_type(_upright(values.transpose(order).reshape(shape), orientation), file_name)


@contextmanager
def _opened(file: BinaryIO, file_name: str) -> Iterator[Any]:
    """A `tifffile.TiffFile`; whatever tifffile raises about it becomes a ValueError that names the file."""
    try:
        import tifffile  # an optional extra
    except ImportError as error:
        raise ValueError(
            f"The TIFF file {file_name} is read by tifffile, which is not installed here: {INSTALL}"
        ) from error
    try:
        with tifffile.TiffFile(file) as tiff:
            yield tiff
    except UnusablePixelsError:
        raise
    except Exception as error:  # of many kinds, from damaged files
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            raise ValueError(
                f"The TIFF file {file_name} is compressed so that tifffile needs imagecodecs for it: pip install "
                "imagecodecs, or save it with deflate or without compression."
            ) from error
        raise ValueError(f"The TIFF file {file_name} cannot be read ({error}); it may be damaged.") from error


def _orientation(tiff: Any) -> int:
    tag = tiff.pages[0].tags.get(ORIENTATION)
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else UPRIGHT


def _channels_last(axes: str, shape: tuple[int, ...], file_name: str) -> tuple[tuple[int, ...], tuple[int, int, int]]:
    """The order of axes that makes (H, W, C) of an image, and that shape.

    An array that was written without saying which axis is which (tifffile calls it Q) has its channels first, unless
    the last axis is shorter: tifffile writes both as a stack of pages.

    Raises:
        ValueError: other axes than those of one image.
    """
    if axes == "YX":
        return (0, 1), (shape[0], shape[1], 1)
    rest = [place for place, axis in enumerate(axes) if axis not in "YX"]
    if len(axes) != 3 or len(rest) != 1:
        raise UnusablePixelsError(
            f"The TIFF file {file_name} holds an array of shape {shape} (axes {axes}) and no single image with "
            "channels: save one image a file."
        )
    place = 2 if axes[rest[0]] == "Q" and shape[2] < min(shape[0], _MOST_LAST) else rest[0]
    order = (*(axis for axis in range(3) if axis != place), place)
    height, width, channels = (shape[axis] for axis in order)
    return order, (height, width, channels)


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) as it is meant to be seen."""
    if orientation >= FIRST_TURN:
        values = values.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)

"""Reads image files: on disk, in shards, or from wherever Detectron2's file handlers reach.

They become 8-bit RGB by the rules of `pixels.py`, or the channels of a `ChannelFormat` with the values of the file.
"""

from contextlib import suppress
from typing import BinaryIO

import numpy as np
from PIL import Image

from .channel_reading import BYTES_OF_TIFF, decode_channels, has_tiff_reader, is_tiff, read_tiff_head
from .channels import ChannelFormat, ImageFormat
from .pixels import (
    FIRST_TURN,
    IMAGE_FORMATS,
    READ_ERRORS,
    UPRIGHT,
    decode_image,
    in_format,
    orientation_of,
    unreadable,
    upright_pixels,
)
from .shards.files import open_file

_TIFF_SIZE = (256, 257)  # tags of width and height; what Pillow calls the size of a TIFF may be turned already
_OF_CHANNELS = "If it has other channels than 8-bit red, green and blue, set data.channels."
_PNG_EXIF = {"exif", "Raw profile type exif"}


def read_image(file_name: str, image_format: ImageFormat = "RGB") -> np.ndarray:
    """Reads an image file, turned upright by its EXIF orientation.

    Args:
        image_format: "RGB" or "BGR", or the channels that are wanted.

    Returns:
        (H, W, 3) uint8, or (H, W, N) of the channels' type.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be decoded, or its pixels have no 8-bit meaning or are other channels.
    """
    if isinstance(image_format, ChannelFormat):
        return image_format.select(read_channels(file_name), file_name)
    if image_format not in IMAGE_FORMATS:
        raise ValueError(f"image_format={image_format!r} must be one of {', '.join(IMAGE_FORMATS)}.")
    return in_format(_colors(read_image_file(file_name), file_name), image_format)


def _colors(content: bytes, file_name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    try:
        return upright_pixels(decode_image(content, file_name), file_name)
    except ValueError as error:
        if is_tiff(content):
            raise type(error)(f"{error} {_OF_CHANNELS}") from error
        raise


def read_picture(file_name: str) -> np.ndarray:
    """An image file to be looked at: (H, W, 3) uint8 RGB, or three of other channels, stretched by its own values.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded.
    """
    content = read_image_file(file_name)
    try:
        return _colors(content, file_name)
    except ValueError as error:
        with suppress(ValueError):
            values = decode_channels(content, file_name)
            return ChannelFormat.of_image(values).picture(values)
        raise error


def read_channels(file_name: str) -> np.ndarray:
    """(H, W, C) of uint8, uint16, int16 or float32: all channels of an image file with its values, turned upright.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or its values are no channels.
    """
    return decode_channels(read_image_file(file_name), file_name)


def read_image_file(file_name: str) -> bytes:
    """The bytes of an image file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read.
    """
    try:
        with open_binary(file_name) as file:
            return file.read()
    except FileNotFoundError:
        raise FileNotFoundError(f"The image file {file_name} does not exist.") from None
    except OSError as error:
        raise unreadable(file_name, error) from error


def open_binary(file_name: str) -> BinaryIO:
    """A file, or what shards or Detectron2's path manager have by that name.

    Raises:
        OSError: it cannot be opened.
        ValueError: no file can have this name.
    """
    try:
        return open_file(file_name)
    except ValueError as error:
        raise unreadable(file_name, error) from error


def read_orientation_and_size(file_name: str) -> tuple[int, tuple[int, int]]:
    """EXIF's orientation of an image file, and the height and width of the upright image, from the head of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image.
    """
    try:
        with open_binary(file_name) as file:
            orientation, (height, width) = _head(file, file_name)
    except FileNotFoundError:
        raise FileNotFoundError(f"The image file {file_name} does not exist.") from None
    except OSError as error:
        raise unreadable(file_name, error) from error
    return orientation, (width, height) if orientation >= FIRST_TURN else (height, width)


def _head(file: BinaryIO, file_name: str) -> tuple[int, tuple[int, int]]:
    """Orientation, and height and width as stored."""
    if is_tiff(file.read(BYTES_OF_TIFF)) and has_tiff_reader():
        with suppress(ValueError):  # of images that Pillow may know
            return read_tiff_head(file, file_name)
    file.seek(0)
    try:
        with Image.open(file) as image:
            looks_upright = image.format == "PNG" and not _PNG_EXIF & image.info.keys()  # else Pillow decodes all of it
            turn = UPRIGHT if looks_upright else orientation_of(image)
            width, height = map(image.tag_v2.get, _TIFF_SIZE) if image.format == "TIFF" else image.size  # type: ignore[attr-defined]
            return turn, (height, width)
    except READ_ERRORS as error:
        raise unreadable(file_name, error) from error

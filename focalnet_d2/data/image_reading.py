"""Reads image files, from wherever Detectron2's file handlers reach, into 8-bit arrays (`pixels.py` has the rules)."""

from typing import BinaryIO, cast

import numpy as np
from detectron2.utils.file_io import PathManager
from PIL import Image

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

_PNG_EXIF = {"exif", "Raw profile type exif"}


def read_image(file_name: str, image_format: str = "RGB") -> np.ndarray:
    """Reads an image file, turned upright by its EXIF orientation.

    Args:
        image_format: "RGB" or "BGR".

    Returns:
        (H, W, 3) uint8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be decoded, or its pixels have no 8-bit meaning.
    """
    if image_format not in IMAGE_FORMATS:
        raise ValueError(f"image_format={image_format!r} must be one of {', '.join(IMAGE_FORMATS)}.")
    return in_format(upright_pixels(decode_image(read_image_file(file_name), file_name), file_name), image_format)


def read_image_file(file_name: str) -> bytes:
    """The bytes of an image file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read.
    """
    try:
        with PathManager.open(str(file_name), "rb") as file:
            return cast(bytes, file.read())
    except FileNotFoundError:
        raise FileNotFoundError(f"The image file {file_name} does not exist.") from None
    except OSError as error:
        raise unreadable(file_name, error) from error


def read_orientation_and_size(file_name: str) -> tuple[int, tuple[int, int]]:
    """EXIF's orientation of an image file, and the height and width of the upright image, from the head of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image.
    """
    try:
        with PathManager.open(str(file_name), "rb") as file, Image.open(cast(BinaryIO, file)) as image:
            looks_upright = image.format == "PNG" and not _PNG_EXIF & image.info.keys()  # else Pillow decodes all of it
            orientation = UPRIGHT if looks_upright else orientation_of(image)
            width, height = image.size
    except FileNotFoundError:
        raise FileNotFoundError(f"The image file {file_name} does not exist.") from None
    except READ_ERRORS as error:
        raise unreadable(file_name, error) from error
    return orientation, (width, height) if orientation >= FIRST_TURN else (height, width)

"""Reads image files into 8-bit arrays by explicit rules.

Detectron2's reader turns a 16-bit image almost white, a float image black, and shows the colours hidden below
transparent pixels, all without a word. Here:

    1-bit, grey, palette, CMYK, YCbCr   converted
    alpha (also in palettes)            laid over white, as a viewer shows it
    16-bit grey                         value / 257, rounded: 65535 -> 255; a warning if that is almost black
    16-bit colour PNG                   Pillow's high byte
    32-bit integer, float, other modes  an error that names the file
"""

import logging
import struct

import numpy as np
from detectron2.data.detection_utils import _apply_exif_orientation
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import log_first_n
from PIL import Image

IMAGE_FORMATS = ("RGB", "BGR")
_CONVERTED_MODES = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"}
_ALPHA_MODES = {"RGBA", "LA", "PA", "La", "RGBa"}
_DARK = 4096  # 16-bit values below it become at most 16 of 255
_READ_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


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
    try:
        with PathManager.open(str(file_name), "rb") as file:
            image = Image.open(file)
            image.load()
            image = _apply_exif_orientation(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"The image file {file_name} does not exist.") from None
    except _READ_ERRORS as error:
        raise ValueError(f"The image file {file_name} cannot be read ({error}); it may be damaged.") from error
    pixels = np.array(_to_8_bit(image, file_name).convert("RGB"))
    return pixels if image_format == "RGB" else np.ascontiguousarray(pixels[..., ::-1])


def _to_8_bit(image: Image.Image, file_name: str) -> Image.Image:
    """An opaque image of an 8-bit mode."""
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image)
    if image.mode in _CONVERTED_MODES:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # "I": Pillow before 11.3
        values = np.array(image).astype(np.int64)
        if 0 < values.max() < _DARK:
            _warn_of_darkness(file_name, int(values.max()))
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    raise ValueError(
        f"The image file {file_name} has pixels of Pillow's mode {image.mode!r}, which have no fixed 8-bit "
        "range; convert it to 8 or 16 bits first."
    )


def _warn_of_darkness(file_name: str, highest: int) -> None:
    """Says once in a process how 16-bit values are scaled, for files that were meant otherwise."""
    log_first_n(
        logging.WARNING,
        f"The 16-bit image file {file_name} has no value above {highest} and becomes almost black: values are divided "
        "by 257, so that 65535 is white. If its white is lower, scale the values or save 8 bits. Other such files are "
        "not named.",
    )

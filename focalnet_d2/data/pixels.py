"""Decoded images as 8-bit RGB, by explicit rules; numpy and Pillow only.

Detectron2's reader turns a 16-bit image almost white, a float image black, and shows the colours hidden below
transparent pixels, all without a word. Here:

    1-bit, grey, palette, CMYK, YCbCr   converted
    alpha (also in palettes)            laid over white, as a viewer shows it
    16-bit grey                         value / 257, rounded: 65535 -> 255; a warning if that is almost black
    16-bit colour PNG                   Pillow's high byte
    32-bit integer, float, other modes  an error that names the file
"""

import io
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import numpy as np
from PIL import Image, UnidentifiedImageError

from .image_pages import warn_of_other_images

logger = logging.getLogger(__name__)
# Of a file of more channels, which is refused here in our words, or read as what it is by another reader.
logging.getLogger("PIL.TiffImagePlugin").addFilter(lambda record: "More samples per pixel" not in str(record.msg))

IMAGE_FORMATS = ("RGB", "BGR")
UPRIGHT, FIRST_TURN = 1, 5  # of EXIF's orientations 1 to 8; from 5 on, width and height change places
_TURNS = {  # by which an orientation is undone
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CONVERTED_MODES = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"}
_ALPHA_MODES = {"RGBA", "LA", "PA", "La", "RGBa"}
_DARK = 4096  # 16-bit values below it become at most 16 of 255
ORIENTATION = 0x0112  # the tag of EXIF and of TIFF
READ_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_warned_of: list[str] = []  # the file that the warning of darkness has named in this process


class UnusablePixelsError(ValueError):
    """An image file can be decoded, but its pixels have no meaning that a network could be given."""


class TooLargeError(ValueError):
    """An image has more pixels than Pillow decodes without being asked to."""


class PixelFormat(Enum):
    """What the pixels of an image file are, by which it is decided how they become 8-bit RGB."""

    COLOR = "color"
    GRAY = "gray"
    PALETTE = "palette"
    CMYK = "CMYK"
    ALPHA = "alpha"
    DEEP_GRAY = "16-bit gray"
    DEEP_COLOR = "16-bit color"
    UNUSABLE = "unusable"


def in_format(pixels: np.ndarray, image_format: str) -> np.ndarray:
    """(H, W, 3) RGB in the order of colors that is asked for, the same shape."""
    return pixels if image_format == "RGB" else np.ascontiguousarray(pixels[..., ::-1])


def upright_pixels(image: Image.Image, file_name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a decoded image, by the rules above and turned upright.

    Raises:
        UnusablePixelsError: its pixels have no 8-bit meaning.
    """
    return np.array(to_rgb(turned_upright(image), file_name))


def decode_image(content: bytes, file_name: str) -> Image.Image:
    """The decoded image in the mode and direction of its file.

    Raises:
        ValueError: it cannot be decoded.
    """
    try:
        image = Image.open(io.BytesIO(content))
    except READ_ERRORS as error:
        raise unreadable(file_name, error) from error
    warn_of_other_images(image, file_name)
    return load_pixels(image, file_name)


@contextmanager
def any_number_of_pixels() -> Iterator[None]:
    """Lets Pillow decode images of any size meanwhile, for those who say that they have large ones."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def load_pixels(image: Image.Image, file_name: str) -> Image.Image:
    """The image, whose pixels Pillow has read from its file by now.

    Raises:
        ValueError: they cannot be decoded.
    """
    try:
        image.load()
    except READ_ERRORS as error:
        raise unreadable(file_name, error) from error
    return image


def unreadable(file_name: str, error: Exception) -> ValueError:
    """The error of an image file that cannot be decoded."""
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return TooLargeError(
            f"The image file {file_name} has more than {limit} pixels: cut it into pieces, or predict it by tiles."
        )
    return ValueError(f"The image file {file_name} cannot be read ({decoding_problem(error)}); it may be damaged.")


def decoding_problem(error: Exception) -> str:
    """What kept Pillow from decoding a file; its own words for a file of no known format name a place in memory."""
    return "it is no image" if isinstance(error, UnidentifiedImageError) else str(error)


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation of an image; `UPRIGHT` where it says none, or none that there is."""
    try:
        orientation = image.getexif().get(ORIENTATION, UPRIGHT)
    except Exception:  # of many kinds: EXIF data that are damaged say nothing
        return UPRIGHT
    return orientation if orientation in range(1, 9) else UPRIGHT


def turned_upright(image: Image.Image) -> Image.Image:
    """The image as it is meant to be seen."""
    orientation = orientation_of(image)
    return image if orientation == UPRIGHT else image.transpose(_TURNS[orientation])


def pixel_format(image: Image.Image, content: bytes = b"") -> PixelFormat:
    """What the pixels of an image are.

    Args:
        content: the first bytes of its file; without them, colors of 16 bits look like those of 8, which Pillow has
            made of them.
    """
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return PixelFormat.ALPHA
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # "I": Pillow before 11.3
        return PixelFormat.DEEP_GRAY
    if image.mode not in _CONVERTED_MODES:
        return PixelFormat.UNUSABLE
    if image.format == "PNG" and content[24:25] == b"\x10":  # bits of a color
        return PixelFormat.DEEP_COLOR
    special = {"1": PixelFormat.GRAY, "L": PixelFormat.GRAY, "P": PixelFormat.PALETTE, "CMYK": PixelFormat.CMYK}
    return special.get(image.mode, PixelFormat.COLOR)


def to_rgb(image: Image.Image, file_name: str) -> Image.Image:
    """An image of mode RGB, by the rules above.

    Raises:
        UnusablePixelsError: its pixels have no 8-bit meaning.
    """
    kind = pixel_format(image)
    if kind is PixelFormat.UNUSABLE:
        raise UnusablePixelsError(
            f"The image file {file_name} has pixels of Pillow's mode {image.mode!r}, which have no fixed 8-bit "
            "range; convert it to 8 or 16 bits first."
        )
    if kind is PixelFormat.ALPHA:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    if kind is PixelFormat.DEEP_GRAY:
        image = Image.fromarray(eight_bits(np.array(image), file_name))
    return image if image.mode == "RGB" else image.convert("RGB")


def eight_bits(values: np.ndarray, file_name: str) -> np.ndarray:
    """16-bit values as uint8, the same shape: divided by 257 and rounded; a warning if they become almost black."""
    if is_dark(highest := int(values.max())):
        _warn_of_darkness(file_name, highest)
    return ((values.astype(np.int64) + 128) // 257).astype(np.uint8)


def is_dark(highest: int) -> bool:
    """Whether a gray image of 16 bits, whose highest value this is, becomes almost black."""
    return 0 < highest < _DARK


def _warn_of_darkness(file_name: str, highest: int) -> None:
    """Says once in a process how 16-bit values are scaled, for files that were meant otherwise."""
    if _warned_of:
        return
    _warned_of.append(file_name)
    logger.warning(
        "The 16-bit image file %s has no value above %d and becomes almost black: values are divided by 257, so that "
        "65535 is white. If its white is lower, scale the values or save 8 bits. Other such files are not named.",
        file_name,
        highest,
    )

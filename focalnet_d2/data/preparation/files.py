"""PNG files of annotations: read by strict rules, written complete or not at all."""

import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from focalnet_d2.utils.atomic_write import write_atomically

from ..panoptic_labels import open_label_image

GRAY, RGB, PALETTE = 0, 2, 3  # colour types of PNG
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END_CHUNK = b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True)
class PngHeader:
    """What the first bytes of a PNG say; sizes in pixels, `bit_depth` for one channel."""

    width: int
    height: int
    bit_depth: int
    color_type: int

    def __str__(self) -> str:
        color = {GRAY: "grey", RGB: "RGB", PALETTE: "palette"}.get(self.color_type, "alpha")
        return f"{self.width}x{self.height} {self.bit_depth}-bit {color}"


def read_png_header(path: Path) -> PngHeader:
    """The header of a PNG file, without decoding it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no PNG.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(26)
    except FileNotFoundError:
        raise FileNotFoundError(f"The label file {path} does not exist.") from None
    if len(start) < 26 or not start.startswith(_SIGNATURE):
        raise ValueError(f"The label file {path} is no PNG, or it is damaged: replace it.")
    return PngHeader(*struct.unpack(">IIBB", start[16:26]))


def is_complete_png(path: Path, header: PngHeader) -> bool:
    """Whether a file is there, is a PNG of this size and kind, and does not end too early."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(_END_CHUNK), os.SEEK_END)
            return file.read() == _END_CHUNK and read_png_header(path) == header
    except (OSError, ValueError):
        return False


def read_labels(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 numbers of a PNG: the grey values of 8 bits, or the indices into a palette.

    Args:
        size: (width, height) that it must have.

    Raises:
        FileNotFoundError, ValueError: missing, damaged, another size or another kind of PNG.
    """
    header = _checked_header(path, size)
    # Pillow stretches grey values of fewer bits to 0..255, and drops the lower half of 16.
    if header.color_type != PALETTE and (header.color_type, header.bit_depth) != (GRAY, 8):
        raise ValueError(f"The label file {path} is a {header} PNG; labels must be 8-bit grey or palette: replace it.")
    return np.array(open_label_image(path))


def check_rgb(path: Path, size: tuple[int, int]) -> None:
    """Raises what `read_labels` raises unless a PNG has this size and three channels of 8 bits."""
    header = _checked_header(path, size)
    if (header.color_type, header.bit_depth) != (RGB, 8):
        raise ValueError(f"The label file {path} is a {header} PNG; it must be 8-bit RGB: replace it.")


def _checked_header(path: Path, size: tuple[int, int]) -> PngHeader:
    header = read_png_header(path)
    if (header.width, header.height) != tuple(size):
        raise ValueError(
            f"The label file {path} is a {header} PNG, but its image has {size[0]}x{size[1]} pixels: replace "
            "whichever is wrong."
        )
    return header


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of an image file of any format, without decoding it.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"The image {path} cannot be read ({error}); it may be damaged: replace it.") from error


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Writes (H, W) or (H, W, 3) uint8 pixels; the file appears complete or not at all.

    One that a power cut damages is found by `is_complete_png`.
    """
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    write_atomically(path, content.getvalue())

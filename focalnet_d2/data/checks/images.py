"""What is wrong with an image file, by the rules of `data/image_reading.py`, which reads it for training.

error    no such file, no content, cut off, damaged, pixels without an 8-bit meaning, another size than the
         annotations say
warning  16-bit gray that becomes almost black, extreme proportions, an EXIF turn that the labels may not know of
note     what is converted on reading, and whose file name says another format
"""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..annotations.faults import Fault
from ..annotations.masks import Size
from ..channel_reading import decode_channels, has_tiff_reader, is_tiff
from ..channels import ChannelFormat, channel_words, check_finite
from ..image_reading import read_image_file
from ..named_files import misspelled
from ..pixels import (
    FIRST_TURN,
    UPRIGHT,
    PixelFormat,
    TooLargeError,
    UnusablePixelsError,
    decode_image,
    is_dark,
    orientation_of,
    pixel_format,
    to_rgb,
    turned_upright,
)

UNUSABLE = "unusable-pixels"  # kind of fault
ELONGATED = 20  # times as long as wide
_FORMATS_OF_JPEG = {"JPEG", "MPO"}
_COMMON = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}  # Pillow imports all of its formats to know the others

_CONVERTED = {
    PixelFormat.PALETTE: ("palette-image", "has a palette", "its colors are looked up"),
    PixelFormat.CMYK: ("cmyk-image", "has CMYK colors", "they become RGB without a color profile, so they may shift"),
    PixelFormat.DEEP_GRAY: ("16-bit-image", "is gray with 16 bits", "its values are divided by 257"),
    PixelFormat.DEEP_COLOR: ("16-bit-image", "has colors of 16 bits", "their lower 8 bits are dropped"),
}


class Said(NamedTuple):
    """What annotations say about an image.

    Attributes:
        source: the annotation file.
        image_id: as faults name the image.
        size: height and width; None where they say none, or need not.
        must_have_size: whether they have to say it.
        has_channels: whether it is read with the channels that it has, and not as 8-bit colors.
    """

    source: str
    image_id: str
    size: Size | None = None
    must_have_size: bool = False
    has_channels: bool = False


@dataclass(frozen=True)
class LookedAt:
    """An image file after one look.

    Attributes:
        faults: of the file.
        image: RGB and upright; None where it cannot be read.
        content: pixel format, a value of `PixelFormat`, or the number and type of other channels.
        checksum: 32 bits of all bytes of the file.
    """

    faults: list[Fault]
    image: Image.Image | None = None
    content: str = ""
    checksum: int = 0


def look_at_image(file_name: str, said: Said) -> LookedAt:
    """Reads an image file once and says all that is wrong with it; raises nothing because of the file."""
    ids = (said.image_id,)
    try:
        content = read_image_file(file_name)
    except FileNotFoundError as error:
        meant = misspelled(file_name)
        remedy = f"There is {meant}: correct the name." if meant else "Add it, or remove its entry."
        return LookedAt([Fault("missing-image", "error", file_name, f"{error} {remedy}", ids)])
    except ValueError as error:
        return LookedAt([Fault("unreadable-image", "error", file_name, str(error), ids)])
    if not content:
        message = f"The image file {file_name} is empty (0 bytes): copy it again."
        return LookedAt([Fault("empty-image-file", "error", file_name, message, ids)])
    try:
        if said.has_channels:
            return _of_channels(content, file_name, said)
        stored = decode_image(content, file_name)
        image = to_rgb(turned_upright(stored), file_name)
    except ValueError as error:
        return LookedAt([_undecodable(error, content, file_name, ids)])
    kind, turn = pixel_format(stored, content), orientation_of(stored)
    of_size = size_fault(file_name, said, (image.height, image.width), turn)
    faults = [*_of_format(stored, kind, file_name, ids), *([of_size] if of_size else _of_turn(file_name, said, turn))]
    return LookedAt([*faults, *_of_shape(image, file_name, ids)], image, kind.value, zlib.crc32(content))


def _of_channels(content: bytes, file_name: str, said: Said) -> LookedAt:
    """What is wrong with a file whose channels are read as they are; raises ValueError where it has none."""
    ids, values = (said.image_id,), decode_channels(content, file_name)
    try:
        check_finite(values, file_name)
    except ValueError as error:
        return LookedAt([Fault("nonfinite-pixels", "error", file_name, str(error), ids)])
    image = Image.fromarray(ChannelFormat.of_image(values).picture(values))
    of_size = size_fault(file_name, said, (image.height, image.width), UPRIGHT)
    faults = [*([of_size] if of_size else []), *_of_shape(image, file_name, ids)]
    words = channel_words(values.shape[2], values.dtype.name)
    return LookedAt(faults, image, words, zlib.crc32(content))


def size_fault(file_name: str, said: Said, size: Size, turn: int) -> Fault | None:
    """Whether the annotations have the size of an image; training refuses another one.

    Args:
        size: height and width of the upright image.
        turn: EXIF's orientation of its file.
    """
    ids, (height, width) = (said.image_id,), size
    if said.size is None:
        if not said.must_have_size:
            return None
        message = f"{said.source} has no width and height of image {said.image_id}: write {width} and {height}."
        return Fault("missing-image-size", "error", said.source, message, ids)
    if tuple(said.size) == size:
        return None
    differ = f"{file_name} has {width} x {height} pixels, but {said.source} says {said.size[1]} x {said.size[0]}"
    if tuple(said.size) != size[::-1]:
        message = (
            f"{differ} of image {said.image_id}: correct width and height there, or take the image it was made of."
        )
        return Fault("wrong-image-size", "error", file_name, message, ids)
    if turn >= FIRST_TURN:
        message = (
            f"{differ}: the EXIF data of the file turn it (orientation {turn}), which the tool that wrote the "
            "annotations has not done; save the image without EXIF data, so that it lies as its labels do."
        )
        return Fault("exif-turn-ignored", "error", file_name, message, ids)
    message = f"{differ}: width and height are swapped; correct them in the annotations."
    return Fault("swapped-image-size", "error", file_name, message, ids)


def _undecodable(error: ValueError, content: bytes, file_name: str, ids: tuple[str, ...]) -> Fault:
    if isinstance(error, TooLargeError):
        return Fault("too-large-image", "error", file_name, str(error), ids)
    try:
        values = decode_channels(content, file_name)
    except ValueError as other:
        if is_tiff(content) and not has_tiff_reader():
            return Fault("unreadable-image", "error", file_name, str(other), ids)
    else:
        words = channel_words(values.shape[2], values.dtype.name)
        message = f"{file_name} has {words} and no 8-bit colors: learn from them by data.channels={values.shape[2]}."
        return Fault(UNUSABLE, "error", file_name, message, ids)
    if isinstance(error, UnusablePixelsError):
        return Fault(UNUSABLE, "error", file_name, str(error), ids)
    kind = "truncated-image" if "truncated" in str(error).lower() else "unreadable-image"  # so says Pillow
    return Fault(kind, "error", file_name, f"{error} Copy it again, or remove it from the data.", ids)


def _of_format(image: Image.Image, kind: PixelFormat, file_name: str, ids: tuple[str, ...]) -> Iterator[Fault]:
    """What is converted on reading so that something is lost, and a name that says another format."""
    if kind is PixelFormat.DEEP_GRAY and is_dark(highest := int(np.array(image).max())):
        message = (
            f"{file_name} is gray with 16 bits and has no value above {highest}: it is read as almost black, since "
            "65535 is white; scale the values, save 8 bits, or learn from them as they are by data.channels=1."
        )
        yield Fault("dark-16-bit-image", "warning", file_name, message, ids)
    elif kind in _CONVERTED:
        name, has, happens = _CONVERTED[kind]
        yield Fault(name, "note", file_name, f"{file_name} {has}: {happens} on reading; nothing has to be done.", ids)
    elif kind is PixelFormat.ALPHA and np.array(image.convert("RGBA").getchannel("A")).min() < 255:
        message = (
            f"{file_name} has transparent pixels: it is laid over white on reading; else save it without alpha, or "
            "learn from it as a fourth channel by data.channels=4."
        )
        yield Fault("transparent-image", "note", file_name, message, ids)
    extension = os.path.splitext(file_name)[1].lower()
    named = _COMMON.get(extension) or Image.registered_extensions().get(extension)
    if named and image.format and named != image.format and not {named, image.format} <= _FORMATS_OF_JPEG:
        message = f"{file_name} holds a {image.format} image: it is read all the same; name it as what it is."
        yield Fault("wrong-extension", "note", file_name, message, ids)


def _of_turn(file_name: str, said: Said, turn: int) -> Iterator[Fault]:
    """A turn by EXIF; only that of a size that fits upright is surely known to the labels."""
    if turn == UPRIGHT:
        return
    is_known = turn >= FIRST_TURN and said.size is not None
    message = f"{file_name} is turned by its EXIF data (orientation {turn}), and is read upright: " + (
        "the size in the annotations is that of the upright image."
        if is_known
        else "look whether its labels lie on the upright image; saving it without EXIF data leaves no doubt."
    )
    yield Fault("exif-turned-image", "note" if is_known else "warning", file_name, message, (said.image_id,))


def _of_shape(image: Image.Image, file_name: str, ids: tuple[str, ...]) -> Iterator[Fault]:
    width, height = image.size
    if max(image.size) >= ELONGATED * min(image.size):
        message = (
            f"{file_name} has {width} x {height} pixels: resized to fit, its short side has next to no pixels; "
            "cut it into pieces."
        )
        yield Fault("elongated-image", "warning", file_name, message, ids)

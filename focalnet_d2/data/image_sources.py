"""One image, whatever it comes as, as 8-bit RGB (`pixels.py` has the rules); numpy and Pillow only.

    bytes           an image file, turned upright by its EXIF orientation
    Pillow image    the same, decoded
    array           (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): uint8, uint16, or float from 0 to 1; alpha is laid over
                    white

The order of colors can only be told for arrays; files say their own. Where a network takes other channels
(`channels.py`), an image has all channels of its files, in their type: an array is (H, W, C), or (H, W) of one.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from .channel_reading import channels_of_pillow, decode_channels
from .channels import ChannelFormat, ImageFormat, in_known_type
from .pixels import IMAGE_FORMATS, decode_image, eight_bits, in_format, load_pixels, upright_pixels

# What is never several images, though some of it has parts.
ONE_IMAGE = (bytes, bytearray, memoryview, Image.Image, np.ndarray, Mapping, io.IOBase)

_HALF_A_STEP = 0.5 / 255  # what rounding to 8 bits takes away
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # of Pillow, by the number of channels


class InputImage(NamedTuple):
    """An image to predict from.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, to be looked at.
        name: its path, or what it is, for messages.
        path: of its file; None where it has none.
        values: (H, W, N), what a network of other channels gets; None where there is nothing but the pixels.
    """

    pixels: np.ndarray
    name: str
    path: Path | None = None
    values: np.ndarray | None = None

    def window(self, top: int, bottom: int, left: int, right: int) -> "InputImage":
        """The part (bottom - top, right - left) of an image."""
        values = None if self.values is None else self.values[top:bottom, left:right]
        return self._replace(pixels=self.pixels[top:bottom, left:right], values=values)


def network_values(image: InputImage, image_format: ImageFormat) -> np.ndarray:
    """What a network gets of an image: (H, W, 3) uint8 in an order of colors, or (H, W, N) of other channels.

    Raises:
        ValueError: the image has other channels, as a frame of a video.
    """
    if isinstance(image_format, ChannelFormat):
        return image_format.select(image.pixels, image.name) if image.values is None else image.values
    return in_format(image.pixels, image_format)


def check_channel_order(channel_order: str) -> None:
    """Raises ValueError unless it is "RGB" or "BGR"."""
    if channel_order not in IMAGE_FORMATS:
        raise ValueError(f"channel_order={channel_order!r} must be one of {', '.join(IMAGE_FORMATS)}.")


def image_in_memory(source: Any, channel_order: str = "RGB", image_format: ImageFormat = "RGB") -> InputImage:
    """An image from the bytes of a file, a Pillow image or an array; any shape above.

    Args:
        channel_order: "RGB" or "BGR", of arrays with colors.
        image_format: what the network takes.

    Raises:
        ValueError: it is no image, or one whose values have no 8-bit meaning or are other channels; says what it is.
        TypeError: nothing of the above.
    """
    name = _name_of(source)
    if isinstance(image_format, ChannelFormat):
        return image_of_channels(_values_of(source, name), image_format, name)
    if isinstance(source, bytes | bytearray | memoryview):
        return InputImage(upright_pixels(decode_image(bytes(source), name), name), name)
    if isinstance(source, Image.Image):
        return InputImage(upright_pixels(load_pixels(source, name), name), name)
    values = source[..., None] if source.ndim == 2 else source
    check_shape(values, name, "(H, W), or (H, W, C) with 1, 3 or 4 channels")
    return InputImage(array_pixels(values, channel_order, name), name)


def image_of_channels(values: np.ndarray, channels: ChannelFormat, name: str, path: Path | None = None) -> InputImage:
    """An image from all channels of its file or array, (H, W, C).

    Raises:
        ValueError: they are others than those of the format.
    """
    chosen = channels.select(values, name)
    return InputImage(channels.picture(chosen), name, path, chosen)


def _name_of(source: Any) -> str:
    """What messages call an image in memory; raises what `image_in_memory` says where it can be none."""
    if isinstance(source, bytes | bytearray | memoryview):
        return f"of {len(bytes(source))} bytes in memory"
    if isinstance(source, Image.Image):
        file = getattr(source, "filename", "")
        name = str(file or f"of Pillow in memory ({source.mode}, {source.width}x{source.height})")
        if 0 in source.size:
            raise ValueError(f"The image {name} has no pixels.")
        return name
    if isinstance(source, np.ndarray):
        name = f"array {source.dtype} {source.shape}"
        if np.ma.is_masked(source):
            raise ValueError(f"The {name} has masked values: say what they are, as by array.filled(0).")
        return name
    raise TypeError(
        f"A {type(source).__name__} is no image: give a path, the bytes of a file, a Pillow image, an array (H, W, 3) "
        "or a tensor (3, H, W), or one list of these."
    )


def _values_of(source: Any, name: str) -> np.ndarray:
    """(H, W, C) in the type of its values: all that an image in memory holds."""
    if isinstance(source, bytes | bytearray | memoryview):
        return decode_channels(bytes(source), name)
    if isinstance(source, Image.Image):
        return channels_of_pillow(load_pixels(source, name), name)
    return array_channels(source, name)


def array_channels(values: np.ndarray, name: str) -> np.ndarray:
    """(H, W) or (H, W, C) -> (H, W, C), floats as float32.

    Raises:
        ValueError: another shape, or a type that files of channels cannot have.
    """
    if values.ndim not in (2, 3) or not values.size:
        raise ValueError(f"The {name} is no image: it must have the shape (H, W, C), or (H, W) of one channel.")
    return in_known_type(values[..., None] if values.ndim == 2 else values, name)


def check_shape(values: np.ndarray, name: str, wanted: str) -> None:
    """Raises ValueError unless values are (H, W, 1), (H, W, 3) or (H, W, 4), and not empty."""
    if values.ndim == 3 and 0 in values.shape[:2]:
        raise ValueError(f"The {name} is no image: it has no pixels.")
    if values.ndim != 3 or values.shape[2] not in MODES:
        hint = " An array of several images is given as list(array)." if values.ndim == 4 else ""
        raise ValueError(f"The {name} is no image: it must have the shape {wanted}.{hint}")


def array_pixels(values: np.ndarray, channel_order: str, name: str) -> np.ndarray:
    """(H, W, C), C of 1, 3 or 4 -> (H, W, 3) uint8 RGB.

    Raises:
        ValueError: values that have no 8-bit meaning.
    """
    pixels = _to_8_bits(values, name)
    if pixels.shape[2] > 1:
        pixels = np.concatenate([in_format(pixels[..., :3], channel_order), pixels[..., 3:]], axis=2)
    mode = MODES[pixels.shape[2]]
    image = Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
    return upright_pixels(image, name)


def _to_8_bits(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype.newbyteorder("=") == np.uint16:
        return eight_bits(values, name)
    if values.dtype.kind != "f":
        raise ValueError(f"The {name} has values of a type without a fixed range: give uint8, uint16 or floats.")
    if not np.isfinite(values).all():
        raise ValueError(f"The {name} has pixels that are NaN or infinite.")
    low, high = float(values.min()), float(values.max())
    if low < -_HALF_A_STEP or high > 1 + _HALF_A_STEP:  # resizing may leave the range by less
        raise ValueError(
            f"The {name} has values from {low:.6g} to {high:.6g}: floats must be from 0 to 1, so divide them by their "
            "white, or give uint8."
        )
    return np.rint(np.clip(values.astype(np.float64), 0, 1) * 255).astype(np.uint8)

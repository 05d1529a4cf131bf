"""One image, whatever it comes as, as the 8-bit RGB that training reads (`data/image_reading.py` has the rules).

    path, bytes     an image file, turned upright by its EXIF orientation
    Pillow image    the same, decoded
    array           (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): uint8, uint16, or float from 0 to 1; alpha is laid over
                    white
    tensor          the same with the channels first: (1, H, W), (3, H, W) or (4, H, W)

The order of colors can only be told for arrays and tensors; files say their own.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from focalnet_d2.data.image_reading import (
    IMAGE_FORMATS,
    decode_image,
    eight_bits,
    in_format,
    load_pixels,
    read_image,
    upright_pixels,
)

ImageSource = str | os.PathLike | bytes | Image.Image | np.ndarray | Tensor
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # of Pillow, by the number of channels


class InputImage(NamedTuple):
    """An image to predict from.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        name: its path, or what it is, for messages.
        path: of its file; None where it has none.
    """

    pixels: np.ndarray
    name: str
    path: Path | None = None


def read_input(source: ImageSource, channel_order: str = "RGB") -> InputImage:
    """An image from a path, the bytes of a file, a Pillow image, an array or a tensor; any shape above.

    Args:
        channel_order: "RGB" or "BGR", of arrays and tensors with colors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, or one whose values have no 8-bit meaning; names the file or says what it is.
        TypeError: nothing of the above.
    """
    if channel_order not in IMAGE_FORMATS:
        raise ValueError(f"channel_order={channel_order!r} must be one of {', '.join(IMAGE_FORMATS)}.")
    if isinstance(source, str | os.PathLike):
        path = Path(source).expanduser()
        return InputImage(read_image(str(path)), str(path), path)
    if isinstance(source, bytes):
        name = f"of {len(source)} bytes in memory"
        return InputImage(upright_pixels(decode_image(source, name), name), name)
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or f"of Pillow in memory ({source.mode}, {source.width}x{source.height})"
        return InputImage(upright_pixels(load_pixels(source, str(name)), str(name)), str(name))
    if isinstance(source, np.ndarray | Tensor):
        return _from_values(source, channel_order)
    raise TypeError(
        f"A {type(source).__name__} is no image: give a path, the bytes of a file, a Pillow image, an array (H, W, 3) "
        "or a tensor (3, H, W)."
    )


def _from_values(source: np.ndarray | Tensor, channel_order: str) -> InputImage:
    kind = "tensor" if isinstance(source, Tensor) else "array"
    name = f"{kind} {str(source.dtype).removeprefix('torch.')} {tuple(source.shape)}"
    values = _channels_last(source, name)
    pixels = _to_8_bits(values, name)
    if pixels.shape[2] > 1:
        pixels = np.concatenate([in_format(pixels[..., :3], channel_order), pixels[..., 3:]], axis=2)
    mode = _MODES[pixels.shape[2]]
    image = Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
    return InputImage(upright_pixels(image, name), name)


def _channels_last(source: np.ndarray | Tensor, name: str) -> np.ndarray:
    """(H, W, 1), (H, W, 3) or (H, W, 4)."""
    if isinstance(source, Tensor):
        values = source.detach().cpu()
        values = (values.float() if values.dtype is torch.bfloat16 else values).numpy()
        shapes, values = "(3, H, W), or 1 or 4 in place of 3", values.transpose(1, 2, 0) if values.ndim == 3 else values
        is_image = values.ndim == 3
    else:
        values = source[..., None] if source.ndim == 2 else source
        shapes, is_image = "(H, W), or (H, W, C) with 1, 3 or 4 channels", values.ndim == 3
    if not is_image or values.shape[2] not in _MODES or not values.size:
        raise ValueError(f"The {name} is no image: it must have the shape {shapes}.")
    return values


def _to_8_bits(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return eight_bits(values, name)
    if values.dtype.kind != "f":
        raise ValueError(f"The {name} has values of a type without a fixed range: give uint8, uint16 or floats.")
    if not np.isfinite(values).all():
        raise ValueError(f"The {name} has pixels that are NaN or infinite.")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"The {name} has values from {low:.6g} to {high:.6g}: floats must be from 0 to 1, so divide them by their "
            "white, or give uint8."
        )
    return np.rint(values.astype(np.float64) * 255).astype(np.uint8)

"""Segment ids as the colors of a PNG, as COCO's panoptic files have them; numpy and Pillow only."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from focalnet_d2.utils.atomic_write import atomic_open

LARGEST_ID = 256**3 - 1


def write_panoptic_ids(ids: np.ndarray, path: str | Path) -> None:
    """Write (H, W) segment ids as a PNG that is either complete or absent; folders are made.

    Raises:
        ValueError: not an array of two dimensions, or ids that three bytes do not hold.
    """
    image = panoptic_image(ids, path)
    with atomic_open(path, sync=False) as file:
        image.save(file, format="PNG")


def panoptic_image(ids: np.ndarray, where: str | Path) -> Image.Image:
    """The picture of (H, W) segment ids.

    Args:
        where: what it is for, for the message.

    Raises:
        ValueError: not an array of two dimensions, or ids that three bytes do not hold.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise ValueError(f"Segment ids for {where} must be integers (H, W), not {ids.dtype} {ids.shape}.")
    if ids.size and not 0 <= ids.min() <= ids.max() <= LARGEST_ID:
        raise ValueError(f"Segment ids for {where} run from {ids.min()} to {ids.max()}, outside 0 to {LARGEST_ID}.")
    size = (ids.shape[1], ids.shape[0])
    values = np.ascontiguousarray(ids, "<i4")  # no copy of an int32 map
    return Image.frombytes("RGB", size, memoryview(cast(Any, values)).cast("B") if ids.size else b"", "raw", "RGBX")


def join_colors(colors: np.ndarray) -> np.ndarray:
    """Segment ids (H, W) int32 of colors (H, W, 3) uint8."""
    octets = colors.reshape(-1)
    ids = np.empty(colors.shape[:2], np.uint32)
    # Numbers of four bytes that overlap by one are the fastest way to widen three bytes; the last has no fourth byte.
    numbers = np.ndarray(ids.size - 1, "<u4", octets, strides=(3,))
    np.bitwise_and(numbers, LARGEST_ID, out=ids.reshape(-1)[:-1])
    ids[-1, -1] = int.from_bytes(octets[-3:].tobytes(), "little")
    return ids.view(np.int32)

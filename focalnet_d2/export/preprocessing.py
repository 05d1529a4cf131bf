"""From an image to the network's input as the recipe's test mapper makes it, with Pillow and numpy alone.

The steps are data, since they are stored in exported files:

    {"name": "resize_shortest_edge", "short_side": 800, "max_size": 1333, "filter": 2}
    {"name": "resize_short_side", "short_side": 256, "filter": 3}     torchvision's rounding
    {"name": "resize", "height": 512, "width": 512, "filter": 2}
    {"name": "center_crop", "side": 224}

`filter` is Pillow's number of a resampling filter.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.data.channels import resize_channels

Size = tuple[int, int]  # height, width
Step = Mapping[str, Any]


def apply_steps(pixels: np.ndarray, steps: Iterable[Step], name: str) -> np.ndarray:
    """(H, W, C) -> (h, w, C) of the same type.

    Args:
        name: of the image, for messages.

    Raises:
        ValueError: the image is too thin to be resized, or a step is unknown.
    """
    for step in steps:
        if step["name"] not in STEPS:
            raise ValueError(f"The preprocessing step {step['name']!r} is unknown: a newer focalnet-d2 wrote the file.")
        height, width = pixels.shape[:2]
        try:
            pixels = STEPS[step["name"]](pixels, step)
        except ValueError as error:
            raise ValueError(
                f"The image {name} of {width} x {height} pixels cannot be resized ({error}): it may be too thin; crop "
                "it or leave it out."
            ) from error
    return pixels


def fit_into(pixels: np.ndarray, size: Size, resampling: int = Image.Resampling.BILINEAR) -> np.ndarray:
    """(H, W, C) made smaller, if need be, so that it fits into a fixed size; the aspect ratio stays."""
    height, width = pixels.shape[:2]
    scale = min(size[0] / height, size[1] / width, 1.0)
    if scale == 1.0:
        return pixels
    fitting = (min(size[0], max(1, int(height * scale + 0.5))), min(size[1], max(1, int(width * scale + 0.5))))
    return _resized(pixels, fitting, resampling)


def batch_of(images: Sequence[np.ndarray], size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Images (h, w, C) -> (B, C, H, W) float32, zeros right of and below them, and (B, 2) int64."""
    batch = np.zeros((len(images), images[0].shape[2], *size), np.float32)
    for padded, image in zip(batch, images, strict=True):
        padded[:, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
    return batch, np.array([image.shape[:2] for image in images], np.int64)


def padded_size(image: Size, divisor: int) -> Size:
    """Height and width rounded up to multiples of the divisor."""
    return -(-image[0] // divisor) * divisor, -(-image[1] // divisor) * divisor


def _resize_shortest_edge(pixels: np.ndarray, step: Step) -> np.ndarray:
    """Detectron2's rule: the shorter side, then the bound on the longer one, both rounded at the end."""
    height, width = pixels.shape[:2]
    short_side = step["short_side"] * 1.0
    scale = short_side / min(height, width)
    new_height, new_width = (short_side, scale * width) if height < width else (scale * height, short_side)
    if max(new_height, new_width) > step["max_size"]:
        bound = step["max_size"] * 1.0 / max(new_height, new_width)
        new_height, new_width = new_height * bound, new_width * bound
    return _resized(pixels, (int(new_height + 0.5), int(new_width + 0.5)), step["filter"])


def _resize_short_side(pixels: np.ndarray, step: Step) -> np.ndarray:
    """torchvision's rule: the longer side is rounded down, and an image that has the size already stays."""
    height, width = pixels.shape[:2]
    side = step["short_side"]
    longer = int(side * max(height, width) / min(height, width))
    return _resized(pixels, (side, longer) if height <= width else (longer, side), step["filter"])


def _resize(pixels: np.ndarray, step: Step) -> np.ndarray:
    return _resized(pixels, (step["height"], step["width"]), step["filter"])


def _center_crop(pixels: np.ndarray, step: Step) -> np.ndarray:
    side = step["side"]
    top, left = (round((length - side) / 2.0) for length in pixels.shape[:2])
    if min(pixels.shape[:2]) < side:
        raise ValueError(f"a crop of {side} pixels does not fit into it")
    return pixels[top : top + side, left : left + side]


def _resized(pixels: np.ndarray, size: Size, resampling: int) -> np.ndarray:
    height, width = size
    if pixels.dtype != np.uint8 or pixels.shape[2] != 3:
        return resize_channels(pixels, size, resampling)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling(resampling)))


STEPS: dict[str, Callable[[np.ndarray, Step], np.ndarray]] = {
    "resize_shortest_edge": _resize_shortest_edge,
    "resize_short_side": _resize_short_side,
    "resize": _resize,
    "center_crop": _center_crop,
}

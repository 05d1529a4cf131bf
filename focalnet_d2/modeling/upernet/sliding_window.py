"""Class scores of every pixel of an image that goes through a network at once, or in overlapping windows.

The rules are those of mmsegmentation: logits are brought to the size of the network's input, means are taken where
windows overlap, these are brought to the size of the result, and then become probabilities. Unlike there, maps of all
classes at the size of an image are never made but for the result: a few classes are resized at a time.

Shapes: K classes, h x w pixels of the network's input, H x W of the result, c classes at a time.
"""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnet_d2.kernels.argmax import index_of_largest
from focalnet_d2.utils.windows import window_spans

Window = tuple[slice, slice]  # rows and columns


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, corners not aligned: (B, C, h, w) -> (B, C, *size)."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


class WindowInference:
    """Where the windows of an image are, and what becomes of the logits in them.

    Args:
        window: sides of the windows, pixels; 0: the whole image at once.
        stride: pixels from one window to the next; the last ones are moved back to end with the image.
        dense_bytes: scores that take more are returned as the (H, W) best classes; 0: always.
        chunk_bytes: memory for the maps of the classes that are resized together, roughly; at least one class is.

    Raises:
        ValueError: windows that leave gaps.
    """

    def __init__(self, *, window: int = 0, stride: int = 0, dense_bytes: int = 2**30, chunk_bytes: int = 2**26):
        if window and not 0 < stride <= window:
            raise ValueError(f"stride={stride} must be from 1 to the window's {window} pixels, or windows leave gaps.")
        self.window, self.stride = window, stride
        self.dense_bytes, self.chunk_bytes = dense_bytes, chunk_bytes

    def windows(self, image_size: Sequence[int]) -> list[Window]:
        """Rows and columns of each window in an image of (h, w), row by row."""
        rows, columns = (window_spans(side, self.window, self.stride) for side in image_size)
        return [(slice(*row), slice(*column)) for row in rows for column in columns]

    @torch.no_grad()
    def __call__(
        self,
        logits: Sequence[Tensor],
        windows: Sequence[Window],
        *,
        image_size: Sequence[int],
        output_size: Sequence[int],
    ) -> Tensor:
        """The result of one image; numbers are float32, or float64 where the logits are.

        Args:
            logits: of each window, (K, ...) at any resolution.
            windows: from `windows`.
            image_size: (h, w) of the network's input.
            output_size: (H, W) of the result.

        Returns:
            (K, H, W) probabilities, or (H, W) int16 classes where those take too much.
        """
        dtype = torch.promote_types(logits[0].dtype, torch.float32)
        logits = [part.to(dtype) for part in logits]
        num_classes, item_bytes = len(logits[0]), logits[0].element_size()
        pixels = max(math.prod(image_size), math.prod(output_size))
        at_once = max(1, self.chunk_bytes // (pixels * item_bytes))
        chunks = list(zip(*(part.split(at_once) for part in logits), strict=True))
        maps = (self._merge(chunk, windows, image_size, output_size) for chunk in chunks)
        if num_classes * math.prod(output_size) * item_bytes > self.dense_bytes:
            return _best_classes(maps)
        scores = logits[0].new_empty(num_classes, *output_size)
        for part, resized in zip(scores.split([len(chunk[0]) for chunk in chunks]), maps, strict=True):
            part.copy_(resized)
        for rows in scores.split(max(1, self.chunk_bytes // scores[:, 0].nbytes), dim=1):
            rows.copy_(rows.softmax(0))
        return scores

    def _merge(
        self, logits: Sequence[Tensor], windows: Sequence[Window], image_size: Sequence[int], output_size: Sequence[int]
    ) -> Tensor:
        """Means over the windows that have a pixel, for some classes: -> (c, H, W)."""
        total = logits[0].new_zeros(len(logits[0]), *image_size)
        count = logits[0].new_zeros(*image_size)
        for part, (rows, columns) in zip(logits, windows, strict=True):
            total[:, rows, columns] += resize(part[None], (rows.stop - rows.start, columns.stop - columns.start))[0]
            count[rows, columns] += 1
        return resize((total / count)[None], output_size)[0]


def _best_classes(maps: Iterable[Tensor]) -> Tensor:
    """The class of the largest logit, the first of equal ones: (c, H, W), some classes after others -> (H, W) int16."""
    best = classes = None
    start = 0
    for part in maps:
        found = index_of_largest(part).long()  # (H, W)
        values = part.gather(0, found[None])[0]
        found = (found + start).to(torch.int16)
        start += len(part)
        if best is None or classes is None:
            best, classes = values, found
        else:
            classes = torch.where(values > best, found, classes)
            best = torch.maximum(values, best)
    if classes is None:
        raise ValueError("There are no classes to choose from.")
    return classes

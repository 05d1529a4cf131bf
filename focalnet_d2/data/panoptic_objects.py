"""Objects of panoptic labels: box, area and mask of each segment, counted from pixels."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .annotations.run_lengths import compressed_rle


def segment_objects(ids: np.ndarray, segments: Iterable[Mapping]) -> Iterator[tuple[Mapping, dict[str, Any]]]:
    """Each segment that has pixels, and its `bbox` (XYWH pixels), `area` and `segmentation` (compressed run lengths).

    Args:
        ids: (H, W) segment ids.
        segments: with `id`.
    """
    for segment in segments:
        mask = ids == segment["id"]  # (H, W)
        if mask.any():
            yield segment, {"bbox": _box(mask), "area": int(mask.sum()), "segmentation": compressed_rle(mask)}


def _box(mask: np.ndarray) -> list[int]:
    """XYWH pixels around a mask (H, W) that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]

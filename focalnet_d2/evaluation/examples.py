"""The best and the worst images of an evaluation with their predictions, for reports: a few, however many there are."""

import base64
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.data.panoptic_png import join_colors, panoptic_image

from .coco_files import write_json

EXAMPLES = "{}_examples.json"  # of a task
LONGEST_SIDE = 360  # pixels of a map that is kept
_KEPT = 6  # of the best and of the worst


class Examples:
    """Keeps the images with the lowest and with the highest values; of equal ones those whose ids come first."""

    def __init__(self, kept: int = _KEPT) -> None:
        self.kept = kept
        self.lowest: list[tuple[float, str, dict[str, Any]]] = []
        self.highest: list[tuple[float, str, dict[str, Any]]] = []

    def add(self, image_id: Any, value: float, describe: Callable[[], dict[str, Any]]) -> None:
        """Note an image.

        Args:
            value: how good its prediction is; an image without a value, nan, is left out.
            describe: makes what is kept of it, values of JSON and maps (H, W) of integers below 256³ that are `shrunk`,
                which become texts when they are written; called only for those that are kept.
        """
        if not math.isfinite(value):
            return
        description: dict[str, Any] | None = None
        for kept, rank in ((self.lowest, value), (self.highest, -value)):
            if len(kept) < self.kept or (rank, str(image_id)) < kept[-1][:2]:
                description = description or {"image_id": image_id, "value": value, **describe()}
                self._insert(kept, (rank, str(image_id), description))

    def merge(self, other: "Examples") -> None:
        """Take over those of another process; an image that both have counts once."""
        for mine, theirs in ((self.lowest, other.lowest), (self.highest, other.highest)):
            known = {key for _, key, _ in mine}
            for entry in theirs:
                if entry[1] not in known:
                    self._insert(mine, entry)

    def write(self, folder: Path, task: str) -> None:
        """Write the lists `worst` and `best` of what is kept, the most telling first, into a file of the task."""
        groups = {"worst": self.lowest, "best": self.highest}
        content = {name: [_as_json(entry) for *_, entry in kept] for name, kept in groups.items()}
        write_json(folder / EXAMPLES.format(task), content)

    def _insert(self, kept: list, entry: tuple[float, str, dict[str, Any]]) -> None:
        kept.append(entry)
        kept.sort(key=lambda one: one[:2])
        del kept[self.kept :]


def _as_json(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: map_as_text(value) if isinstance(value, np.ndarray) else value for key, value in entry.items()}


def shrunk(values: np.ndarray) -> np.ndarray:
    """A copy of a map (H, W) of integers, with a longest side of `LONGEST_SIDE` at most, by nearest neighbors."""
    step = max(1.0, max(values.shape) / LONGEST_SIDE)
    rows, columns = (
        np.minimum((np.arange(max(1, round(side / step))) + 0.5) * step, side - 1).astype(int) for side in values.shape
    )
    return values[rows][:, columns]


def map_as_text(values: np.ndarray) -> str:
    """A map (H, W) of integers below 256³ as base64 of a PNG, shrunk."""
    target = io.BytesIO()
    panoptic_image(shrunk(values), "an example").save(target, "PNG")
    return base64.b64encode(target.getvalue()).decode()


def map_from_text(text: str) -> np.ndarray:
    """The inverse of `map_as_text`: (H, W) int32.

    Raises:
        ValueError: something else.
    """
    try:
        image = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
    except (OSError, TypeError) as error:
        raise ValueError(f"a map of an example cannot be read: {error}.") from error
    return join_colors(np.asarray(image))

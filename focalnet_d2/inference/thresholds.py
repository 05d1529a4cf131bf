"""The lowest score that an object of each class must have: `focalnet-d2 tune` keeps it in a checkpoint's metadata."""

from collections.abc import Mapping, Sequence
from typing import Any

from focalnet_d2.data.class_map import ClassMap

ENTRY = "score_thresholds"  # of the metadata: a number by the name of each class
DEFAULT = 0.5


def score_thresholds_of(content: Mapping[str, Any], classes: ClassMap, path: str) -> tuple[float, ...] | None:
    """The lowest score of each of the K classes that a checkpoint keeps; None where it keeps none.

    Raises:
        ValueError: its entry is no such table; the message names the file.
    """
    metadata = content.get("metadata")
    found = metadata.get(ENTRY) if isinstance(metadata, Mapping) else None
    if found is None:
        return None
    if not isinstance(found, Mapping) or set(found) != set(classes.names) or not all(map(_is_share, found.values())):
        raise ValueError(
            f"The checkpoint {path} has {ENTRY} that cannot be used: they must be a number from 0 to 1 for each of its "
            f"{len(classes)} classes. Run `focalnet-d2 tune --write` on it again, or give a threshold."
        )
    return tuple(float(found[name]) for name in classes.names)


def as_entry(thresholds: Sequence[float], classes: ClassMap) -> dict[str, float]:
    """The inverse of `score_thresholds_of`."""
    return dict(zip(classes.names, map(float, thresholds), strict=True))


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1

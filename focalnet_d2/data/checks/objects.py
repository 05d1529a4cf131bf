"""Objects of any kind against what a recipe makes of them."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..annotations.faults import Fault
from ..annotations.findings import shown_ids
from ..annotations.json_file import Entry
from .tasks import LabelTask


def fault(task: LabelTask, kind: str, severity: str, what: str, entries: Sequence[Any]) -> Fault:
    """A fault of objects of an image.

    Args:
        what: what the first of them has, and what to do.
        entries: the objects or their ids.
    """
    (first, *_) = ids = shown_ids(entries)
    message = f"{task.source}, image {task.image_id!r}: the object {first} {what}."
    return Fault(kind, severity, task.source, message, ids, len(entries))


def of_image(task: LabelTask, kind: str, severity: str, message: str) -> Fault:
    """A fault of the labels of an image as a whole; the message stands alone."""
    return Fault(kind, severity, task.source, message, (str(task.image_id),))


def too_many(task: LabelTask, labels: Sequence[Entry]) -> Iterator[Fault]:
    """More objects than a recipe can find in an image."""
    count = sum(not entry.get("iscrowd") for entry in labels)
    most = task.limits.queries
    if most is not None and count > most:
        message = (
            f"{task.source}, image {task.image_id!r}: it has {count} objects, but the recipe has {most} queries and "
            f"cannot find {count - most} of them: raise the number of queries to {count}, or cut the image."
        )
        yield of_image(task, "more-objects-than-queries", "warning", message)


def too_small(task: LabelTask, sizes: Sequence[tuple[Entry, float]]) -> Iterator[Fault]:
    """Objects that have less than a pixel once the image is resized.

    Args:
        sizes: objects, and of each the length of its shorter side in pixels of the image.
    """
    scale = scale_of(task)
    small = [entry for entry, side in sizes if 0 < side * scale < 1 and not entry.get("iscrowd")]
    if small:
        resized = f"after the resizing of the recipe (x {scale:.2f}) " if scale != 1 else ""
        what = f"is narrower than a pixel {resized}and can hardly be found: resize to more pixels, or remove it"
        yield fault(task, "object-below-a-pixel", "warning" if scale != 1 else "note", what, small)


def scale_of(task: LabelTask) -> float:
    """How many times longer the sides of an image become."""
    short, most = task.limits.short_side, task.limits.long_side
    if task.size is None or short is None:
        return 1.0
    scale = short / min(task.size)
    return min(scale, most / max(task.size)) if most is not None else scale

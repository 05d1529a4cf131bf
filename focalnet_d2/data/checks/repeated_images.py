"""Faults of images that are there more than once, in a part or in two of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from focalnet_d2.utils.text import some_of

from ..annotations.faults import SHOWN_IDS, Fault
from .duplicates import MOST_COMPARED, Fingerprints, Likeness, compare_files, equal_groups, equal_names, similar_pairs
from .tasks import LabelTask

Tasks = Mapping[str, Callable[[], Iterable[LabelTask]]]  # by the name of the part, in the order of the fingerprints


def repeated_images(prints: Fingerprints, parts: Sequence[int], tasks: Tasks, *, threads: int) -> list[Fault]:
    """Images that are the same or nearly so.

    Args:
        prints: of all images of all parts.
        parts: number of each one's part in `tasks`.
        tasks: gives the images of a part once more.
    """
    groups, pairs, names = (
        equal_groups(prints),
        similar_pairs(prints, parts)[:MOST_COMPARED],
        equal_names(prints, parts),
    )
    shown = names[:SHOWN_IDS]
    images = _images_at({*shown, *(place for group in [*groups, *pairs] for place in group)}, parts, tasks)
    alike = compare_files([(images[one].file, images[other].file) for one, other in pairs], threads=threads)
    groups += [list(pair) for pair, likeness in zip(pairs, alike) if likeness is Likeness.EXACT]
    near = [pair for pair, likeness in zip(pairs, alike) if likeness is Likeness.NEAR]
    faults = [fault for group in groups for fault in _same([images[place] for place in group])]
    faults += [_similar(images[one], images[other]) for one, other in near]
    return [*faults, *_same_names([images[place] for place in shown], len(names))]


class _Image(NamedTuple):
    """Where an image is: part, path and id."""

    part: str
    file: str
    image_id: str

    def __str__(self) -> str:
        return f"{self.file} ({self.part})"


def _images_at(places: set[int], parts: Sequence[int], tasks: Tasks) -> dict[int, _Image]:
    """The images at some places; the tasks of all are made once more, so that nobody has to keep their names."""
    images: dict[int, _Image] = {}
    start = 0
    for number, (part, make) in enumerate(tasks.items()):
        length = parts.count(number)
        own = {place - start for place in places if start <= place < start + length}
        if own:
            for place, task in enumerate(make()):
                if place in own:
                    images[start + place] = _Image(part, task.image_file, str(task.image_id))
        start += length
    return images


def _same(images: Sequence[_Image]) -> Iterator[Fault]:
    """Faults of images with the same pixels."""
    by_part = defaultdict(list)
    for image in images:
        by_part[image.part].append(image)
    for part, own in by_part.items():
        if len(own) > 1:
            files = list(dict.fromkeys(one.file for one in own))
            several = f"{files[0]} and {some_of(files[1:], 5)} of {part} are the same image"
            entries = f"{files[0]} of {part} is there {len(own)} times, as {some_of([one.image_id for one in own], 5)}"
            message = f"{several if len(files) > 1 else entries}: keep one, with the labels of all."
            yield _fault("exact-duplicate", "warning", own, message)
    if len(by_part) > 1:
        message = (
            f"{some_of(images, 5)} are the same image in several parts, so that what was learned is scored: "
            "take it out of all but one."
        )
        yield _fault("leaked-image", "warning", images, message)


def _similar(one: _Image, other: _Image) -> Fault:
    if one.part == other.part:
        message = f"{one.file} and {other.file} of {one.part} are nearly the same image: one of them teaches as much."
        return _fault("near-duplicate", "note", (one, other), message)
    message = (
        f"{one} and {other} are nearly the same image in two parts, so that what was learned is scored: take one out."
    )
    return _fault("nearly-leaked-image", "warning", (one, other), message)


def _fault(kind: str, severity: str, images: Sequence[_Image], message: str) -> Fault:
    ids = tuple(one.image_id for one in images[:SHOWN_IDS])
    return Fault(kind, severity, images[0].file, message, ids, len(images) - 1)


def _same_names(images: Sequence[_Image], count: int) -> list[Fault]:
    """One note for all images whose name stands in two parts, the first of which are given."""
    if not images:
        return []
    message = (
        f"{count} images have the name of an image of another part, {images[0]} for one: nothing has to be done "
        "unless the parts are to be copied into one folder."
    )
    ids = tuple(Path(one.file).name for one in images)
    return [Fault("same-file-name", "note", images[0].file, message, ids, count)]

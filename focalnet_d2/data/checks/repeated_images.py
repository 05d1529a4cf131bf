"""Faults of images that are there more than once, in a part or in two of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from focalnet_d2.utils.text import some_of

from ..annotations.faults import SHOWN_IDS, Fault
from ..annotations.ids import Id
from .duplicates import Fingerprints, Likeness, compare_files
from .tasks import LabelTask

Tasks = Mapping[str, Callable[[], Iterable[LabelTask]]]  # by the name of the part, in the order of the fingerprints


class FoundImage(NamedTuple):
    """Where an image is.

    Attributes:
        part: that it is in, or that it gets where validation images are split off.
        file: its path.
        image_id: in its part.
        labels: how many objects or segments it has; of label files and classes 1.
        is_drawn: whether the part is such a one.
    """

    part: str
    file: str
    image_id: Id
    labels: int
    is_drawn: bool

    def __str__(self) -> str:
        return f"{self.file} ({self.part})"


class Alike(NamedTuple):
    """Images with the same pixels, or two that are nearly the same."""

    images: tuple[FoundImage, ...]
    is_exact: bool


class Repeated(NamedTuple):
    """Images that are alike, and the faults that say so."""

    alike: list[Alike]
    faults: list[Fault]


def repeated_images(prints: Fingerprints, tasks: Tasks, *, threads: int, is_split: bool = False) -> Repeated:
    """Images that are the same or nearly so.

    Args:
        prints: of all images of all parts, whose numbers are their places in `tasks`.
        tasks: gives the images of a part once more.
        is_split: whether images of train are split off for validation, those that the prints set apart; else there is
            a part of them.
    """
    groups, pairs = prints.equal_groups(), prints.similar_pairs()
    count, shown = prints.equal_names(SHOWN_IDS)
    places = {*shown, *(place for group in [*groups, *pairs] for place in group)}
    images = _images_at(places, prints, tasks, is_split=is_split)
    alike = compare_files([(images[one].file, images[other].file) for one, other in pairs], threads=threads)
    groups += [list(pair) for pair, likeness in zip(pairs, alike) if likeness is Likeness.EXACT]
    near = [pair for pair, likeness in zip(pairs, alike) if likeness is Likeness.NEAR]
    same = [tuple(images[place] for place in group) for group in groups]
    similar = [(images[one], images[other]) for one, other in near]
    faults = [fault for group in same for fault in _same(group)] + [_similar(*pair) for pair in similar]
    return Repeated(
        [*(Alike(group, True) for group in same), *(Alike(pair, False) for pair in similar)],
        [*faults, *_same_names([images[place] for place in shown], count)],
    )


def _images_at(places: set[int], prints: Fingerprints, tasks: Tasks, *, is_split: bool) -> dict[int, FoundImage]:
    """The images at some places; the tasks of all are made once more, so that nobody has to keep their names."""
    images: dict[int, FoundImage] = {}
    start = 0
    for number, (part, make) in enumerate(tasks.items()):
        end = start + prints.count(number)
        if any(start <= place < end for place in places):
            is_drawn = is_split and part == "train"
            for place, task in enumerate(make(), start):
                if place in places:
                    name = "val" if is_drawn and prints.is_apart(place) else part
                    labels = len(task.labels) or int(bool(task.label_file))
                    images[place] = FoundImage(name, task.image_file, task.image_id, labels, is_drawn)
        start = end
    return images


def _same(images: Sequence[FoundImage]) -> Iterator[Fault]:
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
            f"{_remedy(images, 'take it out of all but one')}."
        )
        yield _fault("leaked-image", "warning", images, message)


def _similar(one: FoundImage, other: FoundImage) -> Fault:
    if one.part == other.part:
        message = f"{one.file} and {other.file} of {one.part} are nearly the same image: one of them teaches as much."
        return _fault("near-duplicate", "note", (one, other), message)
    message = (
        f"{one} and {other} are nearly the same image in two parts, so that what was learned is scored: "
        f"{_remedy((one, other), 'take one out')}."
    )
    return _fault("nearly-leaked-image", "warning", (one, other), message)


def _remedy(images: Sequence[FoundImage], remedy: str) -> str:
    """What to do, also where validation images are split off the part in which all of them are."""
    if not all(image.is_drawn for image in images):
        return remedy
    return f"name what such images share by data.split_groups=, so that they stay together, or {remedy} (--fix does)"


def _fault(kind: str, severity: str, images: Sequence[FoundImage], message: str) -> Fault:
    ids = tuple(str(one.image_id) for one in images[:SHOWN_IDS])
    return Fault(kind, severity, images[0].file, message, ids, len(images) - 1)


def _same_names(images: Sequence[FoundImage], count: int) -> list[Fault]:
    """One note for all images whose name stands in two parts, the first of which are given."""
    if not images:
        return []
    message = (
        f"{count} images have the name of an image of another part, {images[0]} for one: nothing has to be done "
        "unless the parts are to be copied into one folder."
    )
    ids = tuple(Path(one.file).name for one in images)
    return [Fault("same-file-name", "note", images[0].file, message, ids, count)]

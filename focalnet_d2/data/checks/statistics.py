"""What a part of a data set is like, in numbers that stay as few as they are however many images it has."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from focalnet_d2.utils.text import some_of

from ..annotations.faults import SHOWN_IDS, Fault
from ..annotations.json_file import Entry
from ..class_map import ClassMap
from .tasks import LabelTask

STEPS = 4  # bins of an octave
MANY = 1000  # objects of an image from which on they are counted alike
_LIMIT = 6 * STEPS  # bins of aspects to either side, which stand for all beyond


def octave(value: float) -> int:
    """The bin of a length or ratio: `STEPS` bins until it has doubled, the middle of bin 0 at 1."""
    return round(STEPS * math.log2(value))


def middle(bin_: int) -> float:
    """The length or ratio in the middle of a bin of `octave`."""
    return 2 ** (bin_ / STEPS)


@dataclass
class PartStatistics:
    """Numbers of one part; those of two parts of its images are added by `add`.

    Attributes:
        images: how many it lists.
        unreadable: of them.
        unlabelled: of them, without any object, segment or class.
        formats: images by pixel format.
        sizes: images by (bin of the width, bin of the height), bins of `octave`.
        aspects: images by the bin of width / height.
        objects: images by their number of objects.
        object_sizes: objects by the bin of the root of their area, pixels.
        counts: what the checks of a whole part need, see `tasks.LabelFindings`.
    """

    images: int = 0
    unreadable: int = 0
    unlabelled: int = 0
    formats: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    aspects: Counter = field(default_factory=Counter)
    objects: Counter = field(default_factory=Counter)
    object_sizes: Counter = field(default_factory=Counter)
    counts: Counter = field(default_factory=Counter)

    def add(self, other: "PartStatistics") -> None:
        """Adds the numbers of other images."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, getattr(self, name) + value)

    def add_image(self, task: LabelTask, content: str, counts: Mapping[Any, int]) -> None:
        """Adds one image.

        Args:
            task: its labels, and its size where it can be read.
            content: its pixel format; "" where it cannot be read.
            counts: what the checks of its labels have counted.
        """
        self.images += 1
        self.counts.update(counts)
        if task.size is None:
            self.unreadable += 1
        else:
            height, width = task.size
            self.formats[content] += 1
            self.sizes[octave(width), octave(height)] += 1
            self.aspects[max(-_LIMIT, min(_LIMIT, octave(width / height)))] += 1
        self._add_labels(task, counts)

    def _add_labels(self, task: LabelTask, counts: Mapping[Any, int]) -> None:
        is_read = bool(counts) or task.kind != "semantic"  # else the fault of its label file says enough
        if is_read and not any(key[0] == "class" or (key[0] == "value" and key[1] in task.classes) for key in counts):
            self.unlabelled += 1
        if task.kind in ("instances", "panoptic"):
            self.objects[min(MANY, len(task.labels))] += 1
            self.object_sizes.update(octave(math.sqrt(area)) for entry in task.labels if (area := _area(entry)) > 0)

    def of_classes(self, classes: ClassMap) -> dict[str, int]:
        """Objects (of a semantic set: pixels) of each class, by its name, in the order of the class list."""
        return {
            entry.name: self.counts["class", entry.dataset_id] or self.counts["value", entry.dataset_id]
            for entry in classes.classes
        }


def _area(entry: Entry) -> float:
    """Pixels of the box of an object, else its area; 0 where there is neither."""
    try:
        _, _, width, height = entry["bbox"]
        return float(width) * float(height)
    except (KeyError, TypeError, ValueError):
        area = entry.get("area")
        return float(area) if isinstance(area, int | float) else 0.0


def statistical_faults(
    parts: Mapping[str, PartStatistics], classes: ClassMap, sources: Mapping[str, str], *, of_pixels: bool = False
) -> list[Fault]:
    """What the numbers show: classes that a part lacks, and images without labels.

    Args:
        parts: numbers of each part.
        sources: annotation file or folder of each part.
        of_pixels: whether every pixel has a class, so that one without any teaches nothing.
    """
    faults = []
    teaches = "nothing is learned from them" if of_pixels else "they teach what is no object"
    for name, numbers in parts.items():
        if numbers.unlabelled:
            message = (
                f"{numbers.unlabelled} of the {numbers.images} images of {name} ({sources[name]}) have no label: "
                f"{teaches}; label them if that is not meant."
            )
            faults.append(Fault("image-without-labels", "note", sources[name], message, count=numbers.unlabelled))
        absent = [one for one, count in numbers.of_classes(classes).items() if not count]
        if absent and numbers.images:
            can_learn = "cannot be learned" if name == "train" else "are not scored"
            message = (
                f"{some_of(map(repr, absent), 10)} of the {len(classes)} classes are in no image of {name} "
                f"({sources[name]}): they {can_learn}; add images, or drop the classes."
            )
            faults.append(Fault("absent-class", "note", sources[name], message, tuple(absent[:SHOWN_IDS]), len(absent)))
    return faults

"""What the engine gives to the checks of labels, and what it gets back.

    tasks_of(dataset, part, content, limits)   -> one `LabelTask` for each image, lazily           `tasks.py`
    check_image_labels(task)                   -> its `LabelFindings`, in a worker process          `labels.py`
    check_file(dataset, part, content, counts) -> faults of a whole part, after all of its images   `labels.py`

The engine sets `size` of a task to that of the decoded image, joins faults of one kind and file with `joined`, and adds
up the counts of a part.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..annotations.faults import SEVERITIES, Fault
from ..annotations.ids import Id
from ..annotations.json_file import Entry
from ..label_decoding import LabelDecoding

SHOWN_IDS = 20  # ids that a fault names


@dataclass(frozen=True)
class RecipeLimits:
    """What a recipe makes of images and objects; None where no recipe is known.

    Attributes:
        queries: objects that it can find in an image.
        short_side, long_side: pixels of the image in evaluation: the short side gets that length unless the long one
            would exceed its own.
    """

    queries: int | None = None
    short_side: int | None = None
    long_side: int | None = None


@dataclass(frozen=True)
class LabelTask:
    """What is asked about the labels of one image; small and picklable.

    Attributes:
        kind: "instances", "panoptic" or "semantic".
        source: what has the labels, for the faults: the annotation file, or of a semantic set their folder.
        image_id: as faults name the image.
        image_file: path of the image.
        image: its entry in the annotation file.
        labels: its annotations, or its segments.
        label_file: path of its PNG; "" for instances.
        classes: ids of the classes in the files.
        things: those of them that are countable.
        decoding: of a semantic set, what the values of its label files mean.
        limits: of the recipe.
        size: height and width of the decoded image as training sees it, turned upright; None where it cannot be read.
    """

    kind: str
    source: str
    image_id: Id
    image_file: str
    image: Entry = field(default_factory=dict)
    labels: Sequence[Entry] = ()
    label_file: str = ""
    classes: Sequence[Any] = ()
    things: Sequence[Any] = ()
    decoding: LabelDecoding | None = None
    limits: RecipeLimits = RecipeLimits()
    size: tuple[int, int] | None = None


@dataclass
class LabelFindings:
    """What the labels of one image, or of many, have shown.

    Attributes:
        faults: of the images; many of one kind until they are `joined`.
        counts: what the checks of the whole part need, added up over its images: ("class", id) -> objects,
            ("value", class id, or another value of label files) -> pixels.
    """

    faults: list[Fault] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)


def joined(faults: Iterable[Fault]) -> list[Fault]:
    """One fault for each kind, severity and file: counts added, the first ids kept, the message of the first.

    The worst come first, the others in their order.
    """
    merged: dict[tuple[str, str, str], Fault] = {}
    for fault in faults:
        key = (fault.kind, fault.severity, fault.file)
        if (first := merged.get(key)) is None:
            merged[key] = fault
        else:
            ids = first.ids
            if len(ids) < SHOWN_IDS:
                ids = tuple(dict.fromkeys((*ids, *fault.ids)))[:SHOWN_IDS]
            merged[key] = replace(first, ids=ids, count=first.count + fault.count)
    return sorted(merged.values(), key=lambda fault: SEVERITIES.index(fault.severity))

"""What a layout of folders is: how one is recognized, and how it is read. The table of all is in `layouts.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..annotations.faults import Fault, Report
from ..annotations.ids import Id
from ..class_map import ClassMap
from ..packed.records import PackedRecords
from .dataset import Part
from .listing import Listing

WantedParts = Mapping[str, str]  # part -> sub-folder or annotation file that the user named; "" or absent: look for it


@dataclass(frozen=True)
class Found:
    """What one layout sees in a folder.

    Attributes:
        parts: by name, at least one.
        classes: of all parts together.
        reason: in one phrase, for people: "train/_annotations.coco.json with 61 images".
        has_masks: of instances, whether every object has a mask.
        faults: errors that `parts` and `classes` are mended of, for whoever goes on in spite of them.
    """

    parts: Mapping[str, Part]
    classes: ClassMap
    reason: str
    has_masks: bool = False
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class PackedPart:
    """What `CocoInstances` says of a part, for training, from a big file.

    Attributes:
        class_names: name of each category id, in the order of the ids.
        records: with absolute file names, category ids contiguous in the order of `class_names`.
    """

    class_names: dict[Id, str]
    records: PackedRecords


@dataclass(frozen=True)
class Layout:
    """One layout.

    Attributes:
        name: what `data.layout` takes.
        kind: of `dataset.KINDS`.
        summary: one phrase for help and docs.
        find: looks at the listing of a folder; None where nothing has this layout. Raises ValueError for one that has
            it and cannot be used.
        read: (part, report) -> `CocoInstances` for "instances", `PanopticAnnotations` for "panoptic", a sequence
            of `ListedImage` for "semantic" and "classification". File names in it are absolute. It reports faults and
            goes on without the faulty entries where `report` returns.
        gather: of a layout with `InstanceContent`, (part, report, new_list) -> the one that has gathered a part, which
            `read` gives after the checks.
        read_packed: reads a part in little memory, by the rules of `read`; None of a part that has to be read at once.
    """

    name: str
    kind: str
    summary: str
    find: Callable[[Listing, WantedParts], Found | None]
    read: Callable[[Part, Report], Any]
    read_packed: Callable[[Part], PackedPart | None] = lambda part: None
    gather: Callable[..., Any] | None = None

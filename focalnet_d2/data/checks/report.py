"""What a check of a data set has found."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..annotations.faults import SEVERITIES, SHOWN_IDS, Fault, joined
from ..folders.dataset import FolderDataset
from .repeated_images import Alike
from .statistics import PartStatistics
from .tasks import LabelTask

MOST_FAULTS = 500  # of one kind that are listed
_BEFORE_JOINING = 2000
SCHEMA_VERSION = 1


class FaultList:
    """Faults, joined by kind and file, so that they stay few however many images have them."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._left_out: Counter[str] = Counter()
        self._waiting = 0

    def add(self, fault: Fault) -> None:
        """Adds one fault; of its ids the first are kept."""
        self._faults.append(replace(fault, ids=fault.ids[:SHOWN_IDS]))
        self._waiting += 1
        if self._waiting > _BEFORE_JOINING:
            self._join()

    def extend(self, faults: Iterable[Fault]) -> None:
        """Adds faults."""
        for fault in faults:
            self.add(fault)

    def faults(self) -> list[Fault]:
        """The faults, the worst first; of each kind `MOST_FAULTS` at most."""
        self._join()
        return list(self._faults)

    def left_out(self) -> dict[str, int]:
        """How many entries with a fault of a kind are not among `faults`."""
        self._join()
        return dict(self._left_out)

    def _join(self) -> None:
        kept: list[Fault] = []
        listed: Counter[str] = Counter()
        for fault in joined(self._faults):
            listed[fault.kind] += 1
            if listed[fault.kind] <= MOST_FAULTS:
                kept.append(fault)
            else:
                self._left_out[fault.kind] += fault.count
        self._faults, self._waiting = kept, 0


@dataclass
class Reading:
    """A data set as one layout reads it, after its check.

    Attributes:
        dataset: what was found.
        parts: numbers of each part.
        samples: of images with labels: (part, task), drawn by chance.
        faulty: of images with faults: (kind, task).
        alike: images that are the same or nearly so.
    """

    dataset: FolderDataset
    parts: dict[str, PartStatistics] = field(default_factory=dict)
    samples: list[tuple[str, LabelTask]] = field(default_factory=list)
    faulty: list[tuple[str, LabelTask]] = field(default_factory=list)
    alike: list[Alike] = field(default_factory=list)


@dataclass
class Findings:
    """All that was found in a folder.

    Attributes:
        root: the folder.
        readings: one for each layout that fits.
        faults: the worst first; of each kind and reading `MOST_FAULTS` at most.
        left_out: entries with faults beyond them, by kind.
    """

    root: str
    readings: list[Reading] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, faults: Iterable[Fault], left_out: Mapping[str, int] | None = None) -> None:
        """Adds the faults of a reading; those of files that an earlier reading has shown, too, are left out."""
        known = {(fault.kind, fault.file) for fault in self.faults}
        new = (fault for fault in faults if (fault.kind, fault.file) not in known)
        self.faults = sorted([*self.faults, *new], key=lambda fault: SEVERITIES.index(fault.severity))
        self.left_out.update(left_out or {})

    def counts(self) -> dict[str, int]:
        """Entries with faults by severity."""
        counts: dict[str, int] = dict.fromkeys(SEVERITIES, 0)
        for fault in self.faults:
            counts[fault.severity] += fault.count
        return counts

    @property
    def is_clean(self) -> bool:
        """Whether nothing above a note was found."""
        return all(fault.severity == "note" for fault in self.faults)

    def to_plain(self) -> dict[str, Any]:
        """The document of `check-data --json`; `SCHEMA_VERSION` rises when a key changes its meaning or goes."""
        return {
            "schema_version": SCHEMA_VERSION,
            "root": self.root,
            "clean": self.is_clean,
            "counts": self.counts(),
            "left_out": dict(self.left_out),
            "datasets": [_plain_reading(reading) for reading in self.readings],
            "faults": [
                {
                    "kind": fault.kind,
                    "severity": fault.severity,
                    "file": fault.file,
                    "message": fault.message,
                    "ids": list(fault.ids),
                    "count": fault.count,
                }
                for fault in self.faults
            ],
        }


def _plain_reading(reading: Reading) -> dict[str, Any]:
    dataset = reading.dataset
    return {
        "layout": dataset.layout,
        "kind": dataset.kind,
        "reason": dataset.reason,
        "classes": [{"id": one.dataset_id, "name": one.name, "thing": one.is_thing} for one in dataset.classes.classes],
        "parts": {
            name: {
                "images": numbers.images,
                "unreadable": numbers.unreadable,
                "without_labels": numbers.unlabelled,
                "pixel_formats": dict(numbers.formats),
                "classes": numbers.of_classes(dataset.classes),
            }
            for name, numbers in reading.parts.items()
        },
    }

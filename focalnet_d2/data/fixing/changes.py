"""What a mended copy has been changed in: every entry, and the faults that were the reason."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from focalnet_d2.utils.atomic_write import write_atomically

from ..annotations.boxes import NO_AREA
from ..annotations.faults import Fault
from ..annotations.findings import shown_ids
from ..annotations.json_file import Entry

SCHEMA_VERSION = 1
_NO_ENTRY = (
    "unusable-",  # beginnings of kinds of faults
    "unreadable-",
    "json-damaged",
    "xml-damaged",
    "not-utf-8",
    "skipped-",
    "unlabelled-",
    "label-without-",
    "image-without-label",
    "image-without-class",
)
_AMBIGUOUS = "ambiguous-file-name"
_NAMED = ("image-lacks-object", _AMBIGUOUS)  # kinds of faults that are changes by themselves
_SHOWN = 60  # characters of a value
_NOT_COMPARED = {"file_name", NO_AREA, "segments_info"}  # other ones in every copy; segments are listed one by one


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        file: of the original data set.
        id: of the entry, or the name of the image.
        what: one phrase.
    """

    file: str
    id: str
    what: str


class Changes:
    """All changes, in the order in which they were made, and the faults that reading has shown."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.faults: list[Fault] = []

    def add(self, file: str, entry: Any, what: str) -> None:
        """Adds a change of an entry, an image or a segment, which is given by its id or as an entry."""
        self.changes.append(Change(file, shown_ids([entry])[0], what))

    def fault(self, fault: Fault) -> None:
        """A report for reading: what it drops and mends is found by comparison, the reasons are kept.

        What readers of other layouts drop before there are entries to compare is a change itself.
        """
        if fault.severity != "note":
            self.faults.append(fault)
        if fault.kind.startswith(_NO_ENTRY):
            for key in fault.ids or ("all",):
                self.changes.append(Change(fault.file, key, f"left out: {fault.message}"))
        elif fault.kind in _NAMED:
            what = f"the first of several files taken: {fault.message}" if fault.kind == _AMBIGUOUS else fault.message
            self.changes.append(Change(fault.file, fault.ids[0], what))

    def choice(self, fault: Fault) -> None:
        """A report for reading what `fault` has heard of once already: new is which of several files was taken."""
        if fault.kind == _AMBIGUOUS:
            self.fault(fault)

    def write(self, folder: Path) -> None:
        """Writes `changes.json` and `changes.md`."""
        content = {
            "schema_version": SCHEMA_VERSION,
            "changes": [asdict(change) for change in self.changes],
            "faults": [asdict(fault) for fault in self.faults],
        }
        write_atomically(folder / "changes.json", json.dumps(content, indent=1, ensure_ascii=False))
        write_atomically(folder / "changes.md", self._as_markdown())

    def _as_markdown(self) -> str:
        lines = ["# Changes", "", f"{len(self.changes)} changes. The original data set is as it was.", ""]
        if self.faults:
            lines += ["## What was wrong with the annotation files", ""]
            lines += [*(f"- {_cell(fault.message)}" for fault in self.faults), ""]
        by_file: dict[str, list[Change]] = {}
        for change in self.changes:
            by_file.setdefault(change.file, []).append(change)
        for file, own in by_file.items():
            lines += [f"## {file}", "", "| id | change |", "| --- | --- |"]
            lines += [*(f"| {_cell(change.id)} | {_cell(change.what)} |" for change in own), ""]
        return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


class Snapshot:
    """The entries of a file before it is read and mended, which happens in the entries themselves."""

    def __init__(self, lists: Mapping[str, Iterable[Any]]) -> None:
        self._before = {
            what: [(entry, dict(entry)) for entry in entries if isinstance(entry, dict)]
            for what, entries in lists.items()
        }

    def compare(
        self,
        what: str,
        kept: Sequence[Entry],
        file: str,
        changes: Changes,
        reasons: Mapping[int, str] | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        """Adds the changes of the entries of one list.

        Args:
            what: the list: "images".
            kept: the entries that are written, the same objects as before.
            reasons: why an entry is left out, by Python's `id` of it; without it, the faults of reading are the reason.
            names: of entries whose ids say too little, by Python's `id` of them.
        """
        left = {id(entry) for entry in kept}
        for entry, before in self._before[what]:
            named = (names or {}).get(id(entry), before)
            if id(entry) not in left:
                reason = (reasons or {}).get(id(entry), "see what was wrong with the file")
                changes.add(file, named, f"{what[:-1]} left out: {reason}")
            elif changed := _changed_keys(before, entry):
                changes.add(file, named, "; ".join(changed))


def _changed_keys(before: Entry, after: Entry) -> list[str]:
    keys = [key for key in {**before, **after} if key not in _NOT_COMPARED]
    return [
        f"{key}: {_shown(before, key)} -> {_shown(after, key)}"
        for key in keys
        if key not in before or key not in after or not _same(before[key], after[key])
    ]


def _same(first: Any, second: Any) -> bool:
    return type(first) is type(second) and (
        first == second or repr(first) == repr(second)
    )  # nan is not equal to itself


def _shown(entry: Entry, key: str) -> str:
    if key not in entry:
        return "none"
    text = repr(entry[key])
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

"""The faults of a list that is looked at in chunks, joined to those that it would have as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .faults import SHOWN_IDS, Fault, Report
from .findings import Findings, odd_fault, shown_ids
from .json_stream import UnusualJsonError

_OF_FIRST = ("area-value", "box-value")  # errors whose message is about the first entry that has them, and no other
_OF_EACH = ("image-size-value",)  # errors with a message for each entry


class ChunkedFindings(Findings):
    """Keeps faults until `hand_over`, so that a file can still be read at once.

    Args:
        path: the file.

    Attributes:
        in_chunks: whether what is looked at is part of a list. Most errors of a part are not those of the list: they
            raise `UnusualJsonError`.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, lambda fault: None)
        self.in_chunks = False
        self._kept: dict[tuple[str, str], _Kept] = {}

    def error(self, kind: str, message: str, entries: Sequence[Any] = ()) -> None:
        """Keeps what cannot be used."""
        if self.in_chunks and kind not in (*_OF_FIRST, *_OF_EACH):
            raise UnusualJsonError(f"{kind} in a part of a list")
        kept = self._kept.setdefault((kind, "" if kind in _OF_FIRST else message), _Kept("error", message))
        kept.add(entries, len(entries) or 1)

    def odd(self, kind: str, what: str, entries: Sequence[Any], severity: str = "warning") -> None:
        """Counts and keeps what is harmless."""
        self.oddities.add(what, len(entries))
        self._kept.setdefault((kind, what), _Kept(severity, what)).add(entries, len(entries))

    def hand_over(self, report: Report) -> None:
        """Reports every fault once."""
        for (kind, _), kept in self._kept.items():
            if kept.count:
                ids = tuple(dict.fromkeys(kept.ids))
                if kept.severity == "error":
                    report(Fault(kind, kept.severity, self.path, kept.text, ids, kept.count))
                else:
                    report(odd_fault(kind, kept.severity, self.path, kept.text, ids, kept.count))


@dataclass
class _Kept:
    """A fault so far.

    Attributes:
        text: the message of an error, or what becomes of what is odd.
        ids: of its first entries; some may be the same.
    """

    severity: str
    text: str
    count: int = 0
    ids: list[str] = field(default_factory=list)

    def add(self, entries: Sequence[Any], count: int) -> None:
        self.count += count
        self.ids += [one for entry in entries[: SHOWN_IDS - len(self.ids)] for one in shown_ids([entry])]

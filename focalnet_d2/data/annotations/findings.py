"""What the rules find in one annotation file: each fault goes to a report, what is harmless into one line as well."""

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from .faults import SHOWN_IDS, Fault, Report, strict
from .json_file import Entry
from .oddities import Oddities


class Findings:
    """The faults of one file on their way to a report.

    Args:
        path: the file.
        report: raises an error, or keeps it; then the rule goes on with what is left.

    Attributes:
        oddities: what is harmless, for the line that training and scoring log.
    """

    def __init__(self, path: str | Path, report: Report) -> None:
        self.path = str(path)
        self.report = report
        self.oddities = Oddities(self.path)

    def error(self, kind: str, message: str, entries: Sequence[Any] = ()) -> None:
        """Reports what cannot be used.

        Args:
            message: one sentence that names the file and says what to do.
            entries: the faulty entries or their ids; none where the whole file is meant.

        Raises:
            ValueError: the report does not go on.
        """
        self.report(Fault(kind, "error", self.path, message, shown_ids(entries), len(entries) or 1))

    def odd(self, kind: str, what: str, entries: Sequence[Any], severity: str = "warning") -> None:
        """Counts and reports what is harmless, if there is any.

        Args:
            what: what becomes of it, as `Oddities.add` takes it.
            entries: those that have it, or their ids.
        """
        self.oddities.add(what, len(entries))
        if entries:
            self.report(odd_fault(kind, severity, self.path, what, shown_ids(entries), len(entries)))

    def log(self, logger: logging.Logger, level: int = logging.WARNING) -> None:
        """Logs the line of harmless things, unless a report lists them one by one."""
        if self.report is strict:
            self.oddities.log(logger, level)


def shown_ids(entries: Sequence[Any]) -> tuple[str, ...]:
    """The first ids of many entries or ids, each once."""
    return tuple(dict.fromkeys(map(_shown_id, islice(entries, SHOWN_IDS))))


def odd_fault(kind: str, severity: str, path: str, what: str, ids: tuple[str, ...], count: int) -> Fault:
    """The fault of what is harmless; its message names the first entries that have it."""
    more = " and others" if count > SHOWN_IDS else ""
    return Fault(kind, severity, path, f"{path}: {count} {what} (ids {', '.join(ids)}{more}).", ids, count)


def _shown_id(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    return str(entry["id"]) if "id" in entry else f"one of image {entry.get('image_id')}"


def without(entries: Sequence[Entry], dropped: Sequence[Entry]) -> list[Entry]:
    """The entries but for some of them; equal ones are told apart."""
    gone = {id(entry) for entry in dropped}
    return [entry for entry in entries if id(entry) not in gone]

"""Entries of annotation files in a temporary file, for whoever looks at one at a time."""

import json
import tempfile
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..annotations.json_file import Entry

_PENDING = 1 << 16  # bytes


class EntryStore(Sequence):
    """Entries as JSON in a temporary file, which is gone with it; each is a new one when it is asked for."""

    def __init__(self) -> None:
        self._pending = bytearray()  # at the end, not yet written
        self._file = tempfile.TemporaryFile(prefix="focalnet_d2_check_", buffering=0)  # noqa: SIM115  lives as this
        self._ends = array("q", [0])
        self._order: Sequence[int] | np.ndarray = range(2**63 - 1)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Entry:
        if not 0 <= index < len(self):
            raise IndexError(index)
        self._write()
        place = int(self._order[index])
        start, end = self._ends[place], self._ends[place + 1]
        self._file.seek(start)
        return _loads(self._file.read(end - start))

    def extend(self, entries: Sequence[Entry]) -> None:
        """Adds entries at the end; none may be asked for before the last is added."""
        for entry in entries:
            self.append(entry)

    def append(self, entry: Entry) -> None:
        """Adds one entry."""
        text = _dumps(entry)
        self._pending += text
        self._ends.append(self._ends[-1] + len(text))
        if len(self._pending) > _PENDING:
            self._write()

    def _write(self) -> None:
        if self._pending:
            self._file.seek(0, 2)
            self._file.write(self._pending)
            self._pending = bytearray()

    def arrange(self, order: np.ndarray) -> None:
        """Gives the entries another order; (N,) places of those of today."""
        self._order = order


def _dumps(entry: Entry) -> bytes:
    return json.dumps(entry).encode()  # orjson takes no broken names of files, and makes null of what is no number


def _loads(text: bytes) -> Entry:
    try:
        import orjson  # an optional extra
    except ImportError:
        return json.loads(text)
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)

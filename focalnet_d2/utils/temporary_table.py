"""A table in a database that is a temporary file, for what is too much to be kept in memory.

SQLite puts the file where `SQLITE_TMPDIR` or `TMPDIR` says, else into /var/tmp, and nobody else sees it. Tables of some
hundred kilobytes never get one.
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

_CACHE = 128  # kilobytes of a table that stay in memory

Row = Sequence[Any]


class TemporaryTable:
    """The table `kept`, which goes with this object; not for processes that are forked.

    Args:
        columns: as SQL has them: "name BLOB".
        options: what SQL has after them.
    """

    def __init__(self, *columns: str, options: str = "") -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode = OFF", "synchronous = OFF", "temp_store = FILE", f"cache_size = -{_CACHE}"):
            self.execute(f"PRAGMA {setting}")
        self.execute(f"CREATE TABLE kept ({', '.join(columns)}) {options}")
        self.execute("BEGIN")
        self._insert = f"INSERT INTO kept VALUES ({', '.join('?' * len(columns))})"

    def __del__(self) -> None:
        if connection := getattr(self, "_connection", None):
            connection.close()

    def execute(self, statement: str, values: Row = ()) -> sqlite3.Cursor:
        """The answer to a statement, row by row.

        Raises:
            OSError: the disk is full.
        """
        try:
            return self._connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise _full(error) from error

    def add(self, rows: Iterable[Row]) -> int:
        """Adds rows at the end; returns how many.

        Raises:
            OSError: the disk is full.
        """
        try:
            return max(0, self._connection.executemany(self._insert, rows).rowcount)
        except sqlite3.OperationalError as error:
            raise _full(error) from error

    def index(self, columns: str) -> None:
        """Makes rows be found by columns; a table is filled before."""
        self.execute(f"CREATE INDEX by_{columns.replace(', ', '_')} ON kept ({columns})")


def _full(error: sqlite3.OperationalError) -> OSError:
    folder = os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or "/var/tmp"
    return OSError(f"A temporary file in {folder} cannot be used ({error}): set TMPDIR to a folder with more room.")

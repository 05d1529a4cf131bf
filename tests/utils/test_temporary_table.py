"""Tables in temporary files give back what was added, and say what to do where there is no room."""

import pytest

from focalnet_d2.utils.temporary_table import TemporaryTable


def test_rows_beyond_what_stays_in_memory_are_given_back():
    table = TemporaryTable("number INTEGER", "text BLOB")
    rows = [(number, bytes(1000)) for number in range(1000)]
    assert table.add(iter(rows)) == 1000
    assert list(table.execute("SELECT * FROM kept ORDER BY rowid")) == rows
    assert table.add([]) == 0


def test_a_full_disk_is_one_clear_error():
    table = TemporaryTable("text BLOB")
    table.execute("PRAGMA max_page_count = 10")
    with pytest.raises(OSError, match="set TMPDIR to a folder with more room"):
        table.add((bytes(1000),) for _ in range(1000))

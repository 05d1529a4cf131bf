"""Entries of annotation files in temporary files, so that their number takes no memory; each is made when asked for."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from focalnet_d2.utils.temporary_table import TemporaryTable

from ..annotations.ids import Id, repeats_of
from ..annotations.json_file import Entry
from ..annotations.json_stream import UnusualJsonError
from ..folders.stored_texts import encoded


class EntryStore(Iterable[Entry]):
    """Entries in the order in which they were added."""

    def __init__(self) -> None:
        self._table = TemporaryTable("entry BLOB")
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, entry: Entry) -> None:
        """Adds one entry at the end."""
        self._table.execute("INSERT INTO kept VALUES (?)", (_dumps(entry),))
        self._length += 1

    def __iter__(self) -> Iterator[Entry]:
        for (text,) in self._table.execute("SELECT entry FROM kept ORDER BY rowid"):
            yield _loads(text)


class ImageStore(Mapping[Id, int]):
    """The images of a file, and the place of each by its id; to be asked after `finish`."""

    def __init__(self) -> None:
        self._table = TemporaryTable("id", "entry BLOB")
        self._length = 0
        self._last: tuple[Id | None, int | None] = (None, None)  # what was asked for last, and its place

    def add(self, images: Iterable[Entry]) -> None:
        """Adds images, whose ids are all whole numbers or all text.

        Raises:
            UnusualJsonError: a number of more than 64 bits.
        """
        try:
            self._length += self._table.add((_key(image["id"]), _dumps(image)) for image in images)
        except OverflowError as error:
            raise UnusualJsonError("an image id of more than 64 bits") from error

    def finish(self) -> None:
        """Ends adding.

        Raises:
            UnusualJsonError: an id is there twice, or some are numbers and some text.
        """
        self._table.index("id")
        if any(one == other for one, other in pairwise(self._table.execute("SELECT id FROM kept ORDER BY id"))):
            raise UnusualJsonError("an image id is there twice")
        if len(list(self._table.execute("SELECT DISTINCT typeof(id) FROM kept"))) > 1:
            raise UnusualJsonError("numbers and texts for ids")

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Id]:
        return (image["id"] for image in self.in_order())

    def get(self, key: Id, default: int | None = None) -> int | None:  # type: ignore[override]
        """The place of an id."""
        if key != self._last[0]:  # objects of one image come one after the other
            self._last = (key, self._place(key))
        return default if self._last[1] is None else self._last[1]

    def _place(self, key: Id) -> int | None:
        try:
            found = self._table.execute("SELECT rowid FROM kept WHERE id = ?", (_key(key),)).fetchone()
        except OverflowError:
            return None
        return found and found[0]

    def __getitem__(self, key: Id) -> int:
        if (place := self.get(key)) is None:
            raise KeyError(key)
        return place

    def image(self, place: int) -> Entry:
        """The image at a place."""
        ((text,),) = self._table.execute("SELECT entry FROM kept WHERE rowid = ?", (place,))
        return _loads(text)

    def in_order(self) -> Iterator[Entry]:
        """The images in the order of their ids."""
        for (text,) in self._table.execute("SELECT entry FROM kept ORDER BY id"):
            yield _loads(text)


class AnnotationStore:
    """The annotations of a file, by their images; to be asked after `finish`."""

    def __init__(self) -> None:
        self._table = TemporaryTable("image", "id", "entry BLOB")

    def add(self, annotations: Iterable[Entry]) -> None:
        """Adds annotations, whose `image_id` is that of an `ImageStore`."""
        self._table.add((_key(one["image_id"]), _own_key(one.get("id")), _dumps(one)) for one in annotations)

    def finish(self) -> None:
        """Ends adding."""
        self._table.index("image")
        self._table.index("id")

    def of_image(self, image_id: Id) -> list[Entry]:
        """The annotations of an image, in the order in which they were added."""
        rows = self._table.execute("SELECT entry FROM kept WHERE image = ? ORDER BY rowid", (_key(image_id),))
        return [_loads(text) for (text,) in rows]

    def repeated_ids(self) -> list[Any]:
        """Every id that has come before, as often as it does."""
        several = "SELECT id FROM kept WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1"
        rows = self._table.execute(f"SELECT entry FROM kept WHERE id IN ({several}) ORDER BY rowid")
        return repeats_of(_loads(text)["id"] for (text,) in rows)


def _key(key: Id) -> int | bytes:
    """What stands for an id of an image, in the order of the ids."""
    return encoded(key) if isinstance(key, str) else key


def _own_key(key: object) -> int | bytes | None:
    """What stands for the id of an annotation, which may be anything; None of what is no id."""
    if type(key) is int:
        return key if -(2**63) <= key < 2**63 else b"number %d" % key
    return b"text %b" % encoded(key) if isinstance(key, str) else None


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

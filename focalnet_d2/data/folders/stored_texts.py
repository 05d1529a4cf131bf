"""Many texts, such as the names of all files of a folder, in temporary files, so that their number takes no memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from heapq import merge
from itertools import chain, islice
from typing import Any

from focalnet_d2.utils.temporary_table import TemporaryTable

_AT_ONCE = 10_000  # texts that are sorted in memory
_FEW = 100  # texts of a list that stay in memory


class StoredTexts(Sequence[str]):
    """Texts in the order in which they were added; each is a new `str` when it is asked for.

    The first few are kept in memory: an open table takes more than a hundred kilobytes, and there may be thousands of
    short lists.

    Args:
        texts: the first ones; what file systems call text may be in them.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._first: list[str] = []
        self._stored = 0  # in the table
        self.extend(texts)

    @cached_property
    def _table(self) -> TemporaryTable:
        """What comes after the first ones."""
        return TemporaryTable("text BLOB")

    def extend(self, texts: Iterable[str]) -> None:
        """Adds texts at the end."""
        remaining = iter(texts)
        self._first += islice(remaining, _FEW - len(self._first))
        if (next_one := next(remaining, None)) is not None:
            self._stored += self._table.add((encoded(text),) for text in chain([next_one], remaining))

    def append(self, text: str) -> None:
        """Adds one text."""
        self.extend([text])

    def __len__(self) -> int:
        return len(self._first) + self._stored

    def __getitem__(self, place: Any) -> Any:
        """A text by its place, or a list of those of a slice."""
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        place = range(len(self))[place]  # from the end, too; raises IndexError
        if place < len(self._first):
            return self._first[place]
        ((text,),) = self._table.execute("SELECT text FROM kept WHERE rowid = ?", (place - len(self._first) + 1,))
        return decoded(text)

    def __iter__(self) -> Iterator[str]:
        yield from self._first
        yield from self._stored_texts("rowid")

    def in_order(self) -> Iterator[str]:
        """The texts as `sorted` has them."""
        return merge(sorted(self._first), self._stored_texts("text"))

    def _stored_texts(self, order: str) -> Iterator[str]:
        """The texts of the table in the order of a column."""
        if self._stored:
            for (text,) in self._table.execute(f"SELECT text FROM kept ORDER BY {order}"):
                yield decoded(text)


class KeyedTexts:
    """Finds texts by something in them, such as the name of a file in its path.

    Args:
        texts: any number.
        key: what one of them is found by.
    """

    def __init__(self, texts: Iterable[str], key: Callable[[str], str]) -> None:
        self._table = TemporaryTable("key BLOB", "text BLOB")
        self._table.add((encoded(key(text)), encoded(text)) for text in texts)
        self._table.index("key")

    def found(self, key: str) -> Iterator[str]:
        """The texts with a key, in their order."""
        for (text,) in self._table.execute("SELECT text FROM kept WHERE key = ? ORDER BY rowid", (encoded(key),)):
            yield decoded(text)


class TextSet:
    """A set of texts.

    Args:
        texts: the first ones.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._table = TemporaryTable("text BLOB PRIMARY KEY ON CONFLICT IGNORE", options="WITHOUT ROWID")
        self._table.add((encoded(text),) for text in texts)

    def add(self, text: str) -> bool:
        """Adds a text; returns whether it was not there before."""
        return self._table.execute("INSERT INTO kept VALUES (?)", (encoded(text),)).rowcount > 0

    def __iter__(self) -> Iterator[str]:
        for (text,) in self._table.execute("SELECT text FROM kept"):
            yield decoded(text)

    def __contains__(self, text: str) -> bool:
        return self._table.execute("SELECT 1 FROM kept WHERE text = ?", (encoded(text),)).fetchone() is not None


def sorted_texts(texts: Iterable[str]) -> Iterable[str]:
    """As `sorted`, in little memory."""
    remaining = iter(texts)
    first = list(islice(remaining, _AT_ONCE))
    return sorted(first) if len(first) < _AT_ONCE else StoredTexts(chain(first, remaining)).in_order()


def encoded(text: str) -> bytes:
    """Bytes of a text that are in the order of the texts."""
    return text.encode("utf-8", "surrogatepass")


def decoded(content: bytes) -> str:
    """The text of `encoded` bytes."""
    return content.decode("utf-8", "surrogatepass")

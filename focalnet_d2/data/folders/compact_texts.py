"""Many texts, such as the names of all files of a folder, in their own bytes and eight more for each."""

import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np


class CompactTexts(Sequence[str]):
    """Texts one after the other in one block of memory; each is a new `str` when it is asked for.

    Args:
        texts: the first ones; what file systems call text may be in them.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._content = bytearray()
        self._ends = array("Q", [0])
        self.extend(texts)

    def extend(self, texts: Iterable[str]) -> None:
        """Adds texts at the end."""
        for text in texts:
            self._content += text.encode("utf-8", "surrogatepass")
            self._ends.append(len(self._content))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: Any) -> Any:
        """A text by its place, or a list of those of a slice."""
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        place = range(len(self))[place]  # from the end, too; raises IndexError
        return self._content[self._ends[place] : self._ends[place + 1]].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))


class ChosenTexts(Sequence[str]):
    """Some of the texts of a sequence, by their places, in four bytes for each.

    Args:
        texts: the sequence.
        places: of those in it.
        only_name: whether of a path with "/" only what comes last is meant.
    """

    def __init__(self, texts: Sequence[str], places: Iterable[int], *, only_name: bool = False) -> None:
        self._texts = texts
        self._places = array("I", places)
        self._only_name = only_name

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        """A text by its place, or a list of those of a slice."""
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        text = self._texts[cast(int, self._places[place])]
        return text.rpartition("/")[2] if self._only_name else text

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))


def choose_texts(texts: Sequence[str], is_chosen: Callable[[str], object]) -> ChosenTexts:
    """Those of which a condition is true."""
    return ChosenTexts(texts, (place for place, text in enumerate(texts) if is_chosen(text)))


class KeyedTexts:
    """Finds texts of a sequence by something in them, such as the name of a file in its path, in eight bytes for each.

    Args:
        texts: the sequence, which nobody adds to.
        key: what one of them is found by.
    """

    def __init__(self, texts: Sequence[str], key: Callable[[str], str]) -> None:
        self._texts, self._key = texts, key
        hashes = np.fromiter((_hash(key(text)) for text in texts), np.uint32, len(texts))
        order = np.argsort(hashes, kind="stable").astype(np.uint32)
        self._hashes = array("I", hashes[order].tobytes())
        self._places = array("I", order.tobytes())

    def found(self, key: str) -> dict[int, str]:
        """The texts with a key by their places, which rise."""
        hashed = _hash(key)
        places = self._places[bisect_left(self._hashes, hashed) : bisect_right(self._hashes, hashed)]
        return {place: text for place in places if self._key(text := self._texts[place]) == key}


def _hash(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogatepass"))

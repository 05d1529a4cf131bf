"""Ids of images and their places: eight bytes an image, and where the ids are texts their bytes."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np

from ..annotations.ids import Id
from ..annotations.json_stream import UnusualJsonError
from ..folders.compact_texts import CompactTexts


class StoredIds(Mapping[Id, int]):
    """Place of each id in the order of all; to be asked after `arrange`."""

    def __init__(self) -> None:
        self._numbers = array("q")
        self._texts = CompactTexts()
        self._last: tuple[Any, int | None] = (None, None)  # the text that was asked for last, and its place

    def extend(self, ids: Sequence[Id]) -> None:
        """Adds ids.

        Raises:
            UnusualJsonError: they are not like those before, or numbers of more than 64 bits.
        """
        if isinstance(ids[0], str):
            self._texts.extend(cast(Sequence[str], ids))  # all are of the kind of the first: reading has looked
        else:
            try:
                self._numbers.extend(cast(Sequence[int], ids))
            except OverflowError as error:
                raise UnusualJsonError("an image id of more than 64 bits") from error
        if self._numbers and self._texts:
            raise UnusualJsonError("numbers and texts for ids")

    def arrange(self) -> np.ndarray:
        """Puts them in order; returns (N,) the place at which each was added.

        Raises:
            UnusualJsonError: an id is there twice.
        """
        if self._texts:
            if all(one < other for one, other in pairwise(self._texts)):  # as most are, which needs no memory
                return np.arange(len(self._texts))
            order = np.array(sorted(range(len(self._texts)), key=self._texts.__getitem__), np.int64)
            self._texts = CompactTexts(self._texts[place] for place in order.tolist())
            is_repeated = any(one == other for one, other in pairwise(self._texts))
        else:
            numbers = np.array(self._numbers, np.int64)
            order = np.argsort(numbers, kind="stable")
            numbers = numbers[order]
            is_repeated = bool((numbers[1:] == numbers[:-1]).any())
            self._numbers = array("q", numbers.tobytes())
        if is_repeated:
            raise UnusualJsonError("an image id is there twice")
        return order

    def __len__(self) -> int:
        return len(self._numbers) or len(self._texts)

    def __iter__(self) -> Iterator[Id]:
        return iter(self._numbers or self._texts)

    def get(self, key: Id, default: Any = None) -> Any:
        """The place of an id."""
        if self._texts:
            if key != self._last[0]:  # objects of one image come one after the other
                place = bisect_left(self._texts, str(key))
                is_there = place < len(self._texts) and self._texts[place] == str(key)
                self._last = (key, place if is_there else None)
            return default if self._last[1] is None else self._last[1]
        place = bisect_left(self._numbers, key)
        return place if place < len(self._numbers) and self._numbers[place] == key else default

    def __getitem__(self, key: Id) -> int:
        if (place := self.get(key)) is None:
            raise KeyError(key)
        return place

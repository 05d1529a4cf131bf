"""Ids of images and categories: all whole numbers or all text, each once, and written alike wherever they stand.

JSON tells 1 from "1", and so does every lookup: where one list has numbers and another text, nothing belongs to
anything.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Any

from focalnet_d2.utils.text import some_of

KINDS = {int: "whole numbers", str: "text"}

Id = int | str


def kind_of_ids(ids: Sequence[Any], where: str) -> type | None:
    """`int` or `str`, whichever all ids are; None if there are none.

    Args:
        where: what has the ids, for messages, for example "train.json: images".

    Raises:
        ValueError: ids of another kind, or of both.
    """
    kinds = set(map(type, ids))
    if strange := kinds - KINDS.keys():
        example = next(value for value in ids if type(value) in strange)
        raise ValueError(f"{where} have an id that is neither a whole number nor text: {example!r}.")
    if len(kinds) > 1:
        examples = [next(value for value in ids if type(value) is kind) for kind in KINDS]
        raise ValueError(
            f"{where} have whole numbers and text for ids ({some_of(map(repr, examples))}): write all alike."
        )
    return kinds.pop() if kinds else None


def check_unique(ids: Sequence[Hashable], where: str, what: str = "id") -> None:
    """Raises ValueError, which names them, if any of the ids occurs twice."""
    if len(set(ids)) != len(ids):
        raise ValueError(f"{where} with the same {what}: {some_of(map(repr, repeated(ids)), 10)}; each needs its own.")


def repeated(values: Iterable[Hashable]) -> list[Hashable]:
    """Those that occur more than once, each once, in the order of their first."""
    return [value for value, count in Counter(values).items() if count > 1]


def unlisted(used: Sequence[Any], listed: Collection[Any], where: str, listing: str) -> set[Any]:
    """Which of the ids that refer to entries of a list are not in it; the arguments are those of `check_alike`.

    Raises:
        ValueError: the ids are not written as in the list.
    """
    check_alike(used, listed, where, listing)
    return set(used) - set(listed)


def check_alike(used: Sequence[Any], listed: Collection[Any], where: str, listing: str) -> None:
    """Whether the ids that refer to entries of a list are written as in it.

    Args:
        used: ids as they are referred to.
        listed: ids of the entries.
        where: what refers, for messages, for example "train.json: annotations (image_id)".
        listing: what is referred to, for example "images".

    Raises:
        ValueError: the ids are not written as in the list, so that nothing could belong to anything.
    """
    kind, listed_kind = kind_of_ids(used, where), kind_of_ids(list(listed), listing)
    if kind and listed_kind and kind is not listed_kind:
        raise ValueError(
            f"{where} have {KINDS[kind]} for ids ({used[0]!r}), but {listing} have {KINDS[listed_kind]} "
            f"({next(iter(listed))!r}): write both alike."
        )

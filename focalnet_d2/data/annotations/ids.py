"""Ids of images and categories: all whole numbers or all text, each once, and written alike wherever they stand.

JSON tells 1 from "1", and so does every lookup: where one list has numbers and another text, nothing belongs to
anything.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Any, TypeVar

from focalnet_d2.utils.text import some_of

KINDS = {int: "whole numbers", str: "text"}

Id = int | str
Key = TypeVar("Key", bound=Hashable)


def kind_of_ids(ids: Sequence[Any], where: str) -> type | None:
    """`int` or `str`, whichever all ids are; None if there are none.

    Args:
        where: what has the ids, for messages, for example "train.json: images".

    Raises:
        ValueError: ids of another kind, or of both.
    """
    if problem := kinds_problem(ids, where):
        raise ValueError(problem)
    return type(ids[0]) if ids else None


def kinds_problem(ids: Sequence[Any], where: str) -> str:
    """What is wrong with ids of another kind than whole numbers or text, or of both; "" for good ones."""
    kinds = set(map(type, ids))
    if strange := kinds - KINDS.keys():
        example = next(value for value in ids if type(value) in strange)
        return f"{where} have an id that is neither a whole number nor text: {example!r}."
    if len(kinds) > 1:
        examples = [next(value for value in ids if type(value) is kind) for kind in KINDS]
        return f"{where} have whole numbers and text for ids ({some_of(map(repr, examples))}): write all alike."
    return ""


def check_unique(ids: Sequence[Hashable], where: str, what: str = "id") -> None:
    """Raises ValueError, which names them, if any of the ids occurs twice."""
    if problem := repeats_problem(ids, where, what):
        raise ValueError(problem)


def repeats_problem(ids: Sequence[Hashable], where: str, what: str = "id") -> str:
    """What is wrong with ids of which one occurs twice; "" for good ones."""
    if len(set(ids)) == len(ids):
        return ""
    return f"{where} with the same {what}: {some_of(map(repr, repeated(ids)), 10)}; each needs its own."


def repeated(values: Iterable[Key]) -> list[Key]:
    """Those that occur more than once, each once, in the order of their first."""
    return [value for value, count in Counter(values).items() if count > 1]


def repeats_of(values: Iterable[Hashable]) -> list[Hashable]:
    """Every value that has come before, as often as it does."""
    seen: set[Hashable] = set()
    return [value for value in values if value in seen or seen.add(value)]


def unlisted(used: Sequence[Any], listed: Collection[Any], where: str, listing: str) -> set[Any]:
    """Which of the ids that refer to entries of a list are not in it; the arguments are those of `likeness_problem`.

    Raises:
        ValueError: the ids are not written as in the list.
    """
    check_alike(used, listed, where, listing)
    return set(used) - set(listed)


def check_alike(used: Sequence[Any], listed: Collection[Any], where: str, listing: str) -> None:
    """Whether the ids that refer to entries of a list are written as in it; see `likeness_problem`.

    Raises:
        ValueError: they are not, so that nothing could belong to anything.
    """
    if problem := likeness_problem(used, listed, where, listing):
        raise ValueError(problem)


def likeness_problem(used: Sequence[Any], listed: Collection[Any], where: str, listing: str) -> str:
    """What is wrong with ids that refer to entries of a list and are not written as in it; "" for good ones.

    Args:
        used: ids as they are referred to.
        listed: ids of the entries.
        where: what refers, for messages, for example "train.json: annotations (image_id)".
        listing: what is referred to, for example "images".
    """
    if problem := kinds_problem(used, where) or kinds_problem(list(listed), listing):
        return problem
    if not used or not listed or type(used[0]) is (listed_kind := type(first := next(iter(listed)))):
        return ""
    return (
        f"{where} have {KINDS[type(used[0])]} for ids ({used[0]!r}), but {listing} have {KINDS[listed_kind]} "
        f"({first!r}): write both alike."
    )

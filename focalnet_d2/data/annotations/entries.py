"""Lists of entries and the ids by which they refer to each other, as all of COCO's formats have them.

Where the report of a fault goes on, what is left is usable: ids that are written in two ways are written alike, of
entries with the same id the first stays, and entries without a usable id or reference are dropped.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from .findings import Findings, without
from .ids import Id, kinds_problem, likeness_problem, repeated, repeats_problem
from .json_file import Entry, lacking_message

_EXACT = 2.0**53  # from which on a float does not say which whole number was meant
SINGULAR = {"images": "image", "categories": "category", "annotations": "annotation"}


def identified(entries: list[Entry], what: str, findings: Findings) -> list[Entry]:
    """The entries of a list, each with its own id, all whole numbers or all text.

    Args:
        what: key of the list: "images".
    """
    where, one = f"{findings.path}: {what}", SINGULAR[what]
    entries, ids = with_key(entries, "id", what, findings)
    entries, ids = alike(entries, ids, "id", f"{one}-id-type", where, findings)
    return distinct(entries, ids, "id", f"duplicate-{one}-id", where, findings)


def with_key(entries: list[Entry], key: str, what: str, findings: Findings) -> tuple[list[Entry], list[Any]]:
    """The entries that have a key, and its values."""
    try:
        return entries, [entry[key] for entry in entries]
    except KeyError:
        lacking = [entry for entry in entries if key not in entry]
        kind = f"{SINGULAR[what]}-without-{key.replace('_', '-')}"
        findings.error(kind, lacking_message(entries, key, f"{findings.path}: {what}"), lacking)
        entries = [entry for entry in entries if key in entry]
        return entries, [entry[key] for entry in entries]


def alike(
    entries: list[Entry], ids: list[Any], key: str, kind: str, where: str, findings: Findings
) -> tuple[list[Entry], list[Any]]:
    """The entries whose ids, under a key, are whole numbers or text as most of them are, and their ids."""
    if not (problem := kinds_problem(ids, where)):
        return entries, ids
    entries = _all_alike(entries, key, _usual_kind(ids), kind, problem, findings)
    return entries, [entry[key] for entry in entries]


def distinct(
    entries: list[Entry],
    values: Sequence[Any],
    key: str,
    kind: str,
    where: str,
    findings: Findings,
    named: Callable[[Any], str] = str,
) -> list[Entry]:
    """The entries, of those with the same value of a key the first.

    Args:
        named: how faults name a value.
    """
    if not (problem := repeats_problem(values, where, key)):
        return entries
    findings.error(kind, problem, list(map(named, repeated(values))))
    firsts: dict[Any, Entry] = {}
    for entry, value in zip(entries, values, strict=True):
        firsts.setdefault(value, entry)
    return list(firsts.values())


def referring(
    entries: list[Entry], ids: list[Any], listed: Collection[Id], key: str, listing: str, findings: Findings
) -> tuple[list[Entry], list[Any]]:
    """Annotations whose ids of other entries are written as in the list of those.

    Args:
        ids: their values of the key.
        listed: ids of the other entries.
        key: "image_id" or "category_id".
        listing: key of the other list: "images".
    """
    where = f"{findings.path}: annotations ({key})"
    if not (problem := likeness_problem(ids, listed, where, f"{findings.path}: {listing}")):
        return entries, ids
    kind = type(next(iter(listed))) if listed else _usual_kind(ids)
    entries = _all_alike(entries, key, kind, f"{SINGULAR[listing]}-id-type", problem, findings)
    return entries, [entry[key] for entry in entries]


def _all_alike(entries: list[Entry], key: str, kind: type, fault: str, problem: str, findings: Findings) -> list[Entry]:
    """The entries whose value of a key is of a kind, or says the same in the other kind and is written anew."""
    other = [entry for entry in entries if type(entry[key]) is not kind]
    findings.error(fault, problem, other)
    dropped = []
    for entry in other:
        if (value := converted(entry[key], kind)) is None:
            dropped.append(entry)
        else:
            entry[key] = value
    return without(entries, dropped) if dropped else entries


def _usual_kind(ids: Sequence[Any]) -> type:
    kinds = Counter(type(value) for value in ids if type(value) in (int, str))
    return kinds.most_common(1)[0][0] if kinds else int


def converted(value: Any, kind: type) -> Id | None:
    """1 of "1" or 1.0, and "1" of 1; None where nothing says the same."""
    if kind is str:
        return str(value) if type(value) is int else None
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return int(value) if type(value) is str and value.isdecimal() and str(int(value)) == value else None

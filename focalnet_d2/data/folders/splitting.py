"""Validation images split off the training part: by names, seed and share alone, so that any process gets the same."""

import hashlib
import math
import re
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, NamedTuple

from focalnet_d2.utils.temporary_table import TemporaryTable

from .dataset import Split
from .stored_texts import encoded


def split_images(
    names: Iterable[str],
    split: Split,
    *,
    class_of: Callable[[str], Hashable] = lambda name: None,
    unlabelled: Collection[str] = (),
) -> tuple[list[str], list[str]]:
    """Names of training images and of validation images, each sorted; see `Draw`.

    Args:
        names: of all images; repeated ones count once.
        class_of: class of a name.
        unlabelled: names of images without labels.

    Raises:
        ValueError: as `Draw`.
    """
    known = sorted(set(names))
    draw = Draw(((name, class_of(name), name not in unlabelled) for name in known), split)
    val = [name for name in known if draw.is_val(name, class_of(name))]
    chosen = set(val)
    return [name for name in known if name not in chosen], val


class Draw:
    """Which images are for validation.

    Groups, or images where there are no groups, are put in an order that a hash of seed and name gives, and the first
    of them are for validation: `share` of their number, rounded, but at least one, and at least one stays. So an image
    that is added moves at most the few at the boundary. Where that would leave one of the two without any label, though
    two groups have some, the nearest group to the boundary that has labels takes the place of one without.

    Args:
        images: name, class and whether it has labels, of each; each class is drawn from for itself, and one of a single
            group stays in training. A name may be there several times, and has the labels of all.
        split: share, seed and groups.

    Raises:
        ValueError: a share that is not between 0 and 1, a pattern that is none, or less than two groups.
    """

    def __init__(self, images: Iterable[tuple[str, Hashable, bool]], split: Split) -> None:
        _check_share(split.share)
        self._split = split
        table = TemporaryTable("class TEXT", "hash BLOB", "has_labels INTEGER", "name BLOB")
        table.add(
            (repr(class_id), self._hash(name), int(has_labels), encoded(name)) for name, class_id, has_labels in images
        )
        table.index("class, hash")
        self._chosen = {
            class_text: _chosen(table, class_text, split.share)
            for (class_text,) in list(table.execute("SELECT DISTINCT class FROM kept"))
        }
        if not any(one.limit for one in self._chosen.values()):
            ((count,),) = table.execute("SELECT count(DISTINCT name) FROM kept")
            groups = f" in groups by {split.groups!r}" if split.groups else ""
            raise ValueError(
                f"No validation images can be split off {count} training images{groups}: name a validation part by "
                "data.val, or add images."
            )

    def is_val(self, name: str, class_id: Hashable = None) -> bool:
        """Whether one of the images is for validation."""
        return self._chosen[repr(class_id)].has(self._hash(name))

    def _hash(self, name: str) -> bytes:
        """What puts the group of a name in order."""
        group = _group_of(name, _compiled(self._split.groups)) if self._split.groups else name
        return hashlib.sha256(encoded(f"{self._split.seed}\n{group}")).digest()


class _Chosen(NamedTuple):
    """The groups of a class that are for validation, by their hashes: all before a limit, but for one that another
    takes the place of."""

    limit: bytes = b""
    left: bytes | None = None
    taken: bytes | None = None

    def has(self, group: bytes) -> bool:
        """Whether a group is among them."""
        return group == self.taken or (group < self.limit and group != self.left)


def _chosen(table: TemporaryTable, class_text: str, share: float) -> _Chosen:
    """Those of one class."""

    def ask(what: str, condition: str = "TRUE", *values: object) -> Any:
        """The first row of an answer about this class."""
        statement = f"SELECT {what} FROM kept WHERE class = ? AND {condition}"
        return table.execute(statement, (class_text, *values)).fetchone()

    (groups,) = ask("count(DISTINCT hash)")
    count = min(max(1, math.floor(share * groups + 0.5)), groups - 1)
    if not count:
        return _Chosen()
    (limit,) = ask("DISTINCT hash", "TRUE ORDER BY hash LIMIT 1 OFFSET ?", count)
    (last,) = ask("max(hash)", "hash < ?", limit)
    before, last_labelled = ask("count(DISTINCT hash), max(hash)", "has_labels AND hash < ?", limit)
    behind, first_labelled = ask("count(DISTINCT hash), min(hash)", "has_labels AND hash >= ?", limit)
    if not before and behind > 1:
        return _Chosen(limit, left=last, taken=first_labelled)
    if not behind and before > 1:
        return _Chosen(limit, left=last_labelled, taken=limit)
    return _Chosen(limit)


def _check_share(share: float) -> None:
    if share == 0:
        raise ValueError(
            "data.val_share=0 leaves no image to score, and a run scores some: hold out a few by a smaller share, such "
            "as data.val_share=0.05, or name the same part as data.train and data.val, which makes scores too good."
        )
    if not 0 < share < 1:
        raise ValueError(f"data.val_share={share} must be between 0 and 1.")


def _compiled(groups: str) -> re.Pattern:
    try:
        return re.compile(groups)
    except re.error as error:
        raise ValueError(f"data.split_groups={groups!r} is no regular expression: {error}.") from error


def _group_of(name: str, pattern: re.Pattern) -> str:
    """What the images that stay together have in common; an image that the pattern does not fit is alone."""
    if (match := pattern.search(name)) is None:
        return name
    text = match.group(1) if pattern.groups else match.group()
    return name if text is None else text

"""Validation images split off the training part: by names, seed and share alone, so that any process gets the same."""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

from .dataset import Split


def split_images(
    names: Iterable[str],
    split: Split,
    *,
    class_of: Callable[[str], Hashable] = lambda name: None,
    unlabelled: Collection[str] = (),
) -> tuple[list[str], list[str]]:
    """Names of training images and of validation images, each sorted.

    Groups, or images where there are no groups, are put in an order that a hash of seed and name gives, and the first
    of them are for validation: `share` of their number, rounded, but at least one, and at least one stays. So an image
    that is added moves at most the few at the boundary. Where that would leave one of the two without any label, though
    two groups have some, the nearest group to the boundary that has labels takes the place of one without.

    Args:
        names: of all images; repeated ones count once.
        class_of: class of a name; each class is split for itself, and one of a single group stays in training.
        unlabelled: names of images without labels.

    Raises:
        ValueError: a share that is not between 0 and 1, a pattern that is none, or less than two groups.
    """
    if split.share == 0:
        raise ValueError(
            "data.val_share=0 leaves no image to score, and a run scores some: hold out a few by a smaller share, such "
            "as data.val_share=0.05, or name the same part as data.train and data.val, which makes scores too good."
        )
    if not 0 < split.share < 1:
        raise ValueError(f"data.val_share={split.share} must be between 0 and 1.")
    by_class: dict[Hashable, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        by_class[class_of(name)].append(name)
    train: list[str] = []
    val: list[str] = []
    for members in by_class.values():
        own_train, own_val = _split_class(members, split, unlabelled)
        train.extend(own_train)
        val.extend(own_val)
    if not val:
        groups = f" in groups by {split.groups!r}" if split.groups else ""
        raise ValueError(
            f"No validation images can be split off {len(train)} training images{groups}: name a validation part by "
            "data.val, or add images."
        )
    return sorted(train), sorted(val)


def _split_class(names: Sequence[str], split: Split, unlabelled: Collection[str]) -> tuple[list[str], set[str]]:
    """Those of sorted names that are for training, and those for validation."""
    groups = _groups_of(names, split.groups) if split.groups else None  # else each name is one

    def members(group: str) -> Sequence[str]:
        return (group,) if groups is None else groups[group]

    found = names if groups is None else groups
    count = min(max(1, math.floor(split.share * len(found) + 0.5)), len(found) - 1)
    order = sorted(found, key=lambda group: _hash(split.seed, group))
    has_labels = [any(name not in unlabelled for name in members(group)) for group in order]
    val = {name for place in _chosen_places(has_labels, count) for name in members(order[place])}
    return [name for name in names if name not in val], val


def _groups_of(names: Iterable[str], pattern: str) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    compiled = _compiled(pattern)
    for name in names:
        groups[_group_of(name, compiled)].append(name)
    return groups


def _chosen_places(has_labels: Sequence[bool], count: int) -> list[int]:
    """The first places, but for one that is exchanged where only the other part would have labels."""
    chosen, left = list(range(count)), range(count, len(has_labels))
    if sum(has_labels) < 2 or not count:
        return chosen
    if not any(has_labels[:count]):
        return [*chosen[:-1], next(place for place in left if has_labels[place])]
    if not any(has_labels[count:]):
        given = next(place for place in reversed(chosen) if has_labels[place])
        return [*(place for place in chosen if place != given), count]
    return chosen


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


def _hash(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{group}".encode("utf-8", "surrogatepass")).digest()

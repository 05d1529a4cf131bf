"""The classes of a data set: the one list that model, training, evaluation and prediction files agree on.

A class has an id in the files (any whole number or text), a contiguous id in the model (its place in this list, from
0), a name, a kind and a color. The list is saved in checkpoints as plain values.
"""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from focalnet_d2.utils.text import some_of

from .annotations.faults import refusal
from .annotations.ids import Id, kinds_problem, repeated, repeats_problem

Color = tuple[int, int, int]
_GOLDEN_RATIO = 0.618033988749895


@dataclass(frozen=True)
class ClassEntry:
    """One class.

    Attributes:
        dataset_id: its id in annotation and prediction files; of a semantic set the value of its pixels.
        name: as in the files.
        is_thing: countable; False for stuff, as all classes of a semantic set are.
        color: RGB from 0 to 255.
    """

    dataset_id: Id
    name: str
    is_thing: bool
    color: Color


@dataclass(frozen=True)
class ClassMap:
    """Classes in the order of their contiguous ids.

    Raises:
        FaultError: no class, an id or a name that occurs twice (blanks at its ends do not count), a name that is
            empty, or ids of different types.
    """

    classes: tuple[ClassEntry, ...]

    def __post_init__(self) -> None:
        """Check the list, which everything else relies on."""
        ids = [entry.dataset_id for entry in self.classes]
        names = [entry.name.strip() for entry in self.classes]
        if not ids:
            raise refusal("no-categories", "", "A class list is empty: name at least one class.")
        if problem := kinds_problem(ids, "The classes"):
            raise refusal("category-id-type", "", problem, ids)
        if problem := repeats_problem(ids, "Classes"):
            raise refusal("duplicate-category-id", "", problem, repeated(ids))
        if nameless := [key for key, name in zip(ids, names, strict=True) if not name]:
            message = f"Classes have no name, those with the ids {some_of(map(repr, nameless), 10)}: give each one."
            raise refusal("category-name", "", message, nameless)
        if problem := repeats_problem(names, "Classes", "name"):
            alike = [key for key, name in zip(ids, names, strict=True) if name in repeated(names)]
            raise refusal("duplicate-category-name", "", problem, alike)

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def names(self) -> list[str]:
        """Names in the order of the contiguous ids."""
        return [entry.name for entry in self.classes]

    @cached_property
    def contiguous(self) -> dict[Id, int]:
        """Contiguous id of each id of the files."""
        return {entry.dataset_id: index for index, entry in enumerate(self.classes)}

    @cached_property
    def thing_ids(self) -> list[int]:
        """Contiguous ids of the countable classes, rising."""
        return [index for index, entry in enumerate(self.classes) if entry.is_thing]

    @property
    def colors(self) -> list[Color]:
        """Colors in the order of the contiguous ids."""
        return [entry.color for entry in self.classes]

    def to_plain(self) -> list[list[Any]]:
        """`[[dataset_id, name, is_thing, [r, g, b]], ...]`: what YAML and checkpoints hold."""
        return [[one.dataset_id, one.name, one.is_thing, list(one.color)] for one in self.classes]

    @classmethod
    def from_plain(cls, rows: Iterable[Sequence[Any]]) -> "ClassMap":
        """The inverse of `to_plain`.

        Raises:
            ValueError: anything else.
        """
        try:
            entries = tuple(ClassEntry(i, str(name), _flag(thing), _color(rgb)) for i, name, thing, rgb in rows)
        except (TypeError, ValueError) as error:
            raise ValueError(f"This is no list of classes (id, name, thing or not, color): {error}.") from error
        return cls(entries)


def class_map(
    ids: Sequence[Id], names: Sequence[str], *, things: Sequence[bool] | bool = True, colors: Sequence | None = None
) -> ClassMap:
    """A class list from columns in the order of the contiguous ids; classes without colors get distinct ones.

    Raises:
        ValueError: columns of different lengths, or what `ClassMap` refuses.
    """
    flags = [things] * len(ids) if isinstance(things, bool) else things
    shown = [distinct_color(index) for index in range(len(ids))] if colors is None else map(_color, colors)
    return ClassMap(tuple(ClassEntry(*row) for row in zip(ids, names, flags, shown, strict=True)))


def category_classes(categories: Iterable[Mapping[str, Any]]) -> ClassMap:
    """The class list of categories in COCO's format: id, name, isthing and, if every one has a usable one, color (RGB).

    Args:
        categories: in the order of the contiguous ids.

    Raises:
        ValueError: ids or names that make no class list.
    """
    categories = list(categories)
    ids, names, things = ([category[key] for category in categories] for key in ("id", "name", "isthing"))
    try:
        colors = [_color(category["color"]) for category in categories]
    except (KeyError, TypeError, ValueError):
        colors = None
    return class_map(ids, names, things=[bool(thing) for thing in things], colors=colors)


def things_first(categories: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Categories in the order of COCO's contiguous ids: things by id, then stuff by id."""
    return sorted(categories, key=lambda category: (not category["isthing"], category["id"]))


def distinct_color(index: int) -> Color:
    """RGB of the class at a place of the list: neighbors differ in hue, rounds of hues in brightness."""
    hue = (index * _GOLDEN_RATIO) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.6)[index % 2], (0.95, 0.75, 0.6)[index % 3])
    return round(255 * red), round(255 * green), round(255 * blue)


def _flag(value: Any) -> bool:
    if value not in (True, False):
        raise ValueError(f"{value!r} is neither true nor false")
    return bool(value)


def _color(rgb: Sequence[int]) -> Color:
    red, green, blue = (int(value) for value in rgb)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"the color {list(rgb)} is not red, green and blue from 0 to 255")
    return red, green, blue

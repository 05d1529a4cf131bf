"""Class lists of several files, or of one, that contradict themselves: the faults, and the one list that mends them.

A class is its name. Where a file gives it another id than the first one that has it, or gives its id to another class,
its ids are translated in reading.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from itertools import count
from typing import Any, NamedTuple, cast

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Fault, FaultError, Report, refusal
from ..annotations.ids import Id
from ..annotations.instances import CocoInstances
from ..class_map import ClassMap, class_map
from .dataset import Part

OPTION = "same_classes"  # of a part: [id in its files, id in the class list] of every class whose ids differ


class Listed(NamedTuple):
    """A class as a file has it."""

    file: str
    key: Id
    name: str

    def __str__(self) -> str:
        return repr((self.key, self.name))


@dataclass(frozen=True)
class OneList:
    """The class list of all files.

    Attributes:
        classes: by their ids.
        other_ids: of each file, ids of its own and those in `classes` that they stand for, where they differ.
        faults: what the files contradict each other in, or themselves.
    """

    classes: ClassMap
    other_ids: Mapping[str, Mapping[Id, Id]]
    faults: tuple[Fault, ...] = ()

    def options(self, file: str) -> dict[str, Any]:
        """Of a part that a file describes, what reading it needs to know."""
        other = self.other_ids.get(file, {})
        return {OPTION: [list(pair) for pair in other.items()]} if other else {}


def one_list(lists: Mapping[str, Mapping[Any, str] | Iterable[tuple[Id, str]]]) -> OneList:
    """The class list of some files.

    Args:
        lists: of each file, ids and names.

    Raises:
        FaultError: the ids or names make no class list, however they are put together.
    """
    building = _Building(lists)
    for file, own in lists.items():
        rows = own.items() if isinstance(own, Mapping) else own
        for key, name in cast(Iterable[tuple[Id, str]], rows):
            building.add(Listed(file, key, name))
    found = [*building.by_name.values(), *building.nameless.values()]
    kept = sorted(found, key=lambda row: (isinstance(row.key, str), row.key))
    with located(next(iter(lists))):
        classes = class_map([row.key for row in kept], [row.name for row in kept])
    return OneList(classes, building.other_ids, tuple(building.faults))


class _Building:
    """A list while files are added to it."""

    def __init__(self, lists: Iterable[str]) -> None:
        self.by_name: dict[str, Listed] = {}
        self.nameless: dict[Id, Listed] = {}  # which nobody can tell to be one class: the class list refuses them
        self.other_ids: dict[str, dict[Id, Id]] = {file: {} for file in lists}
        self.faults: list[Fault] = []
        self._by_id: dict[Id, Listed] = {}
        self._own: dict[tuple[str, Id], Listed] = {}

    def add(self, row: Listed) -> None:
        name = row.name.strip()
        if not name:
            self.nameless.setdefault(row.key, row)
            return
        first = self._own.setdefault((row.file, row.key), row)
        if first.name.strip() != name:  # nobody can tell which of the two an object is: the first stays
            self._contradiction(first, row, "id")
            return
        of_id, of_name = self._by_id.get(row.key), self.by_name.get(name)
        is_other = of_id is not None and of_id.name.strip() != name
        if of_id is not None and is_other:
            self._contradiction(of_id, row, "id")
        if of_name is not None and of_name.key != row.key:
            self._contradiction(of_name, row, "name")
        self._by_id.setdefault(row.key, row)
        if of_name is None:
            of_name = self.by_name[name] = row._replace(key=self._free_id()) if is_other else row
            self._by_id.setdefault(of_name.key, of_name)
        if of_name.key != row.key:
            self.other_ids[row.file][row.key] = of_name.key

    def _contradiction(self, other: Listed, row: Listed, what: str) -> None:
        is_one_file = other.file == row.file
        kind = f"duplicate-category-{what}" if is_one_file else "contradicting-categories"
        sources = some_of(dict.fromkeys([other.file, row.file]))
        remedy = "give each class one id and one name" if is_one_file else "write one list for all parts"
        message = (
            f"The categories of {sources} contradict each other: {other} and {row} (id, name) have the same {what}; "
            f"{remedy}."
        )
        self.faults.append(refusal(kind, row.file, message, [other.key, row.key]).fault)

    def _free_id(self) -> Id:
        """An id that no class has so far; those to come find their name or take another."""
        numbers = [key for key in self._by_id if isinstance(key, int)]
        if numbers or not self._by_id:
            return max(numbers, default=0) + 1
        return next(key for number in count(2) if (key := f"class {number}") not in self._by_id)


@contextmanager
def located(file: str) -> Iterator[None]:
    """Says of which file the class list is that is none.

    Raises:
        FaultError: within it, with this file.
    """
    try:
        yield
    except FaultError as error:
        raise FaultError(replace(error.fault, file=file, message=f"{file}: {error}")) from error


def translated(read: Callable[[Part, Report], Any]) -> Callable[[Part, Report], Any]:
    """A reader that gives every class the id that it has in the class list of all parts."""

    @wraps(read)
    def read_translated(part: Part, report: Report) -> Any:
        content = read(part, report)
        return translate(content, part) if isinstance(content, CocoInstances) and OPTION in part.options else content

    return read_translated


def translate(content: CocoInstances, part: Part) -> CocoInstances:
    """The same with the ids of the class list; annotations are changed in place."""
    other = dict(map(tuple, part.options.get(OPTION, ())))
    names: dict[Id, str] = {}
    for key, name in content.class_names.items():
        names.setdefault(other.get(key, key), name)
    for entry in content.annotations or ():
        entry["category_id"] = other.get(entry["category_id"], entry["category_id"])
    return replace(content, class_names=names)

"""Another class list for the same files: classes renamed, merged or dropped, by the names that the files have.

Each class of the files is named in one change at most. A merged class takes the id, kind and color of the class of its
name if the files have one, else of the first that is merged into it, and its place. Blanks at the ends of a name do not
count.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from focalnet_d2.utils.text import some_of

from .annotations.ids import Id, repeated
from .class_map import ClassEntry, ClassMap


@dataclass(frozen=True)
class ClassChanges:
    """What `data.rename`, `data.merge` and `data.drop` say.

    Attributes:
        rename: new name by name.
        merge: names that become one class, by the name of that class.
        drop: names whose objects are left out: no target, not scored; their pixels are unlabeled.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    drop: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.rename or self.merge or self.drop)

    def new_name(self, name: str) -> str | None:
        """The name of the class that a class becomes; None if it is dropped."""
        return self._new_names.get(name.strip(), name)

    @cached_property
    def _new_names(self) -> dict[str, str | None]:
        """What becomes of each class that is named in a change."""
        merged = {source.strip(): target.strip() for target, sources in self.merge.items() for source in sources}
        renamed = {name.strip(): new.strip() for name, new in self.rename.items()}
        whole = {name: name for name in merged.values()}  # a class of that very name is part of it, too
        return whole | renamed | merged | dict.fromkeys(_plain(self.drop))

    def changed(self, classes: ClassMap) -> ClassMap:
        """The class list after the changes.

        Raises:
            ValueError: a name that the files lack or that is changed twice, a new name that another class has, things
                merged with stuff, or no class left.
        """
        self._check(classes)
        kept: dict[str, ClassEntry] = {}
        for entry in classes.classes:
            name = self.new_name(entry.name)
            if name is None:
                continue
            if name not in kept or entry.name.strip() == name:  # a dict keeps the place of the first
                kept[name] = replace(entry, name=name)
        return ClassMap(tuple(kept.values()))

    def new_ids(self, classes: ClassMap) -> dict[Id, Id | None]:
        """The id that takes the place of each id of the files; None where the class is dropped.

        Raises:
            ValueError: as `changed`.
        """
        by_name = {entry.name: entry.dataset_id for entry in self.changed(classes).classes}
        new_names = {entry.dataset_id: self.new_name(entry.name) for entry in classes.classes}
        return {key: None if name is None else by_name[name] for key, name in new_names.items()}

    def _check(self, classes: ClassMap) -> None:
        names, targets = _plain(classes.names), _plain(self.merge)
        sources = [name for parts in self.merge.values() for name in parts]
        named = _plain([*self.rename, *sources, *self.drop])
        if unknown := [name for name in named if name not in names]:
            near = difflib.get_close_matches(unknown[0], names, n=1, cutoff=0.5)
            raise ValueError(
                f"data.rename, data.merge and data.drop name {some_of(map(repr, unknown))}, but the classes of the "
                f"files are {some_of(names, 20)}: {f'did you mean {near[0]!r}?' if near else 'correct the name.'}"
            )
        if twice := repeated(named):
            raise ValueError(
                f"data.rename, data.merge and data.drop change {some_of(map(repr, twice))} twice: name each class in "
                "one of them."
            )
        if empty := [target for target, parts in self.merge.items() if not parts]:
            raise ValueError(f"data.merge names no class to make {empty[0]!r} of: list them, or leave it out.")
        untouched = [name for name in names if name not in named and name not in targets]
        if taken := repeated([*_plain(self.rename.values()), *targets, *untouched]):
            raise ValueError(f"data.rename and data.merge give the name {taken[0]!r} to two classes: merge them.")
        if set(_plain(self.drop)) >= set(names):
            raise ValueError("data.drop leaves no class: keep at least one.")
        self._check_kinds(classes)

    def _check_kinds(self, classes: ClassMap) -> None:
        kinds: dict[str, set[bool]] = {}
        for entry in classes.classes:
            kinds.setdefault(self.new_name(entry.name) or "", set()).add(entry.is_thing)
        for target in _plain(self.merge):
            if len(kinds[target]) > 1:
                raise ValueError(f"data.merge makes {target!r} of things and stuff, which are no one class.")


def _plain(names: Iterable[str]) -> list[str]:
    """Names without blanks at their ends."""
    return [name.strip() for name in names]

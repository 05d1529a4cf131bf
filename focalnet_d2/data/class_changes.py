"""Another class list for the same files: classes renamed, merged or dropped, by the names that the files have.

Each class of the files is named in one change at most. A merged class takes the id, kind and color of the class of its
name if the files have one, else of the first that is merged into it, and its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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
        if name in self.drop:
            return None
        merged = next((target for target, sources in self.merge.items() if name in sources), None)
        return merged if merged is not None else self.rename.get(name, name)

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
            if name not in kept or entry.name == name:  # a dict keeps the place of the first
                kept[name] = replace(entry, name=name)
        return ClassMap(tuple(kept.values()))

    def new_ids(self, classes: ClassMap) -> dict[Id, Id | None]:
        """The id that takes the place of each id of the files; None where the class is dropped."""
        by_name = {entry.name: entry.dataset_id for entry in self.changed(classes).classes}
        new_names = {entry.dataset_id: self.new_name(entry.name) for entry in classes.classes}
        return {key: None if name is None else by_name[name] for key, name in new_names.items()}

    def _check(self, classes: ClassMap) -> None:
        sources = [name for names in self.merge.values() for name in names]
        named = [*self.rename, *sources, *self.drop]
        if unknown := [name for name in named if name not in classes.names]:
            raise ValueError(
                f"data.rename, data.merge and data.drop name {some_of(map(repr, unknown))}, but the classes of the "
                f"files are {some_of(classes.names, 20)}."
            )
        if twice := repeated(named):
            raise ValueError(f"data.rename, data.merge and data.drop change {some_of(map(repr, twice))} twice.")
        untouched = [name for name in classes.names if name not in named]
        if taken := repeated([*self.rename.values(), *self.merge, *(n for n in untouched if n not in self.merge)]):
            raise ValueError(f"data.rename and data.merge give the name {taken[0]!r} to two classes: merge them.")
        if set(self.drop) >= set(classes.names):
            raise ValueError("data.drop leaves no class: keep at least one.")
        self._check_kinds(classes)

    def _check_kinds(self, classes: ClassMap) -> None:
        is_thing = {entry.name: entry.is_thing for entry in classes.classes}
        for target, names in self.merge.items():
            if len({is_thing[name] for name in (*names, target) if name in is_thing}) > 1:
                raise ValueError(f"data.merge makes {target!r} of things and stuff, which are no one class.")

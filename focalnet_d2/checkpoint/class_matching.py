"""Which row of a file is which class of the model: by name where both lists are known, else by number."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.utils.text import some_of

from .classes import RowMap
from .layout import ClassRows

Names = Sequence[str | None]
OTHER_CLASS_NAMES = ("refuse", "by_name", "by_position")  # what becomes of a file that knows other class names
_SHOWN = 10  # names of a list in a message
_ALIKE = re.compile(r"[\s_-]+")
_MARKS = re.compile(r"[][{},:\"']")


@dataclass(frozen=True)
class ClassChoice:
    """How the class rows of a file are taken.

    Attributes:
        names: the model's classes in order; None: unknown.
        is_new: the model may have classes that the file lacks.
        rule: of `OTHER_CLASS_NAMES`, for lists that differ.
        changes: renamed, merged and dropped classes, by the names of the file.
    """

    names: Sequence[str] | None = None
    is_new: bool = False
    rule: str = "by_name"
    changes: ClassChanges = field(default_factory=ClassChanges)


def names_to_match(known: Names | None, choice: ClassChoice, source: str) -> Sequence[str] | None:
    """The names by which rows are taken; None: by their position.

    Args:
        known: the classes of the file's rows, None where a row has none; None where they are not known.
        source: the file, for messages.

    Raises:
        ValueError: they differ from the model's, also in their order alone, and the rule is "refuse"; or there is no
            such rule. Classes that are only renamed do not differ.
    """
    if choice.rule not in OTHER_CLASS_NAMES:
        raise ValueError(f"train.other_class_names={choice.rule!r} must be one of {', '.join(OTHER_CLASS_NAMES)}.")
    names = choice.names
    if known is None or names is None:
        return None if choice.rule == "by_position" else names
    learned = [name for name in known if name is not None]
    if _plain(names) in (_plain(learned), [choice.changes.new_name(name) for name in learned]):
        return names
    if choice.rule == "refuse":
        raise ValueError(
            f"The checkpoint {source} was trained on the classes {some_of(learned, _SHOWN)}, the data has "
            f"{some_of(names, _SHOWN)} ({_difference(learned, names)}): {_ways(learned, names, choice.changes)}"
        )
    return None if choice.rule == "by_position" else names


def match_rows(
    classes: ClassRows,
    rows: int,
    num_classes: int,
    *,
    file_names: Names | None,
    model_names: Sequence[str] | None,
    new_classes: bool,
    changes: ClassChanges | None = None,
) -> RowMap | None:
    """Which row of the file is which class of the model; None if they cannot be brought together.

    If the file knows all names of the model, their rows are taken. Another list is taken only with `new_classes`: rows
    of names in both lists are copied, the others stay fresh. Where one side's names are unknown, equal numbers mean
    equal classes, and `new_classes` leaves all rows fresh. The extra rows come along in every case.

    Names are equal but for blanks at their ends. The changes apply to the names of a file unless it has the model's
    list already: a renamed class takes its old row (unless the file has a class of the new name, too), a dropped one
    leaves none, and a merged class takes the mean of the rows of its parts. The mean answers to each of the parts,
    where the row of the first knows nothing of the others: with 8 generated classes merged to 5, the shipped DINO has
    box AP 64.8 by means and 61.5 by first rows without any training, the shipped Mask2Former 8.8 and 8.2.

    Args:
        rows: classes of the file; num_classes: classes of the model; both without the extra rows.
        file_names: of the rows, or None: what the layout knows of them.
    """
    file_names = known_names(classes, rows, file_names)
    if model_names is not None and len(model_names) != num_classes:
        model_names = None
    if file_names is not None and model_names is not None:
        sources = _sources(file_names, model_names, changes or ClassChanges())
        found = _match_names(file_names, model_names, sources, new_classes)
    else:
        found = _match_numbers(classes, rows, num_classes, new_classes)
    if found is None:
        return None
    extra_of_file, extra_of_model = (list(range(n, n + classes.extra_rows)) for n in (rows, num_classes))
    return replace(found, file=found.file + extra_of_file, model=found.model + extra_of_model, extra=classes.extra_rows)


def known_names(classes: ClassRows, rows: int, recorded: Names | None) -> Names | None:
    """The names of so many rows of a file: those that it records, else those that its layout knows; None: unknown."""
    return recorded if recorded is not None and len(recorded) == rows else classes.names(rows)


def _match_numbers(classes: ClassRows, rows: int, num_classes: int, new_classes: bool) -> RowMap | None:
    if new_classes:
        return RowMap([], [], f"all {num_classes} classes are new")
    if rows == num_classes:
        return RowMap(list(range(rows)), list(range(rows)))
    if (rows, num_classes) in classes.selections:
        chosen = list(classes.selections[rows, num_classes])
        return RowMap(chosen, list(range(num_classes)), f"{num_classes} of the file's {rows} class rows are taken")
    return None


def _sources(file_names: Names, model_names: Sequence[str], changes: ClassChanges) -> list[list[int]]:
    """Of each class of the model the rows of the file that it takes; of a merged class there may be several."""
    if _plain(file_names) == _stripped(model_names):
        return [[row] for row in range(len(model_names))]
    parts: dict[str, list[int]] = {}
    named: dict[str, list[int]] = {}
    for row, name in enumerate(_plain(file_names)):
        new_name = None if name is None else changes.new_name(name)
        if name is not None and new_name is not None:
            parts.setdefault(new_name.strip(), []).append(row)
            if new_name == name:
                named[name] = [row]
    merged = _stripped(changes.merge)
    return [
        parts.get(name, []) if name in merged else named.get(name, parts.get(name, []))
        for name in _stripped(model_names)
    ]


def _match_names(
    file_names: Names, model_names: Sequence[str], sources: Sequence[Sequence[int]], new_classes: bool
) -> RowMap | None:
    pairs = [(row, place) for place, rows in enumerate(sources) for row in rows]
    file, model = [row for row, _ in pairs], [place for _, place in pairs]
    if all(sources):
        known = sum(name is not None for name in file_names)
        changed = _described(file_names, model_names, sources, only_changed=True)
        note = f"{len(model_names)} of the file's {known} class rows are taken by name"
        if changed:
            note += f" ({some_of(changed, _SHOWN)})"
        return RowMap(file, model, "" if file == model == list(range(len(file_names))) and not changed else note)
    if not new_classes:
        return None
    fresh = [name for name, rows in zip(model_names, sources) if not rows]
    taken = _described(file_names, model_names, sources)
    note = (
        f"classes taken from the file by name: {len(taken)}{_listed(taken)}, new ones: {len(fresh)}{_listed(fresh)}"
        f"{_hint(fresh, file_names)}"
    )
    return RowMap(file, model, note)


def _described(
    file_names: Names, model_names: Sequence[str], sources: Sequence[Sequence[int]], only_changed: bool = False
) -> list[str]:
    """The classes of the model that take rows, with the names in the file where those are others."""
    words = []
    for name, rows in zip(model_names, sources):
        origin = [str(file_names[row]) for row in rows]
        if _plain(origin) == _plain([name]):
            words += [] if only_changed else [name]
        elif rows:
            words.append(f"{name} from {' and '.join(origin)}")
    return words


def _listed(names: Sequence[str]) -> str:
    return f" ({some_of(names, _SHOWN)})" if names else ""


# Lists that differ


def strange_names(known: Names | None, choice: ClassChoice) -> list[str]:
    """The model's classes that no row of the file is for, in their order."""
    if known is None or choice.names is None:
        return []
    sources = _sources(known, choice.names, choice.changes)
    return [name for name, rows in zip(choice.names, sources) if not rows]


def _difference(learned: Sequence[str], names: Sequence[str]) -> str:
    """In one phrase what is different about two lists of names."""
    if len(learned) != len(names):
        return f"{len(learned)} and {len(names)} classes"
    if set(learned) == set(names):
        return "the same classes in another order"
    return f"{len(set(names) - set(learned))} of the {len(names)} names are not in the file"


def _ways(learned: Sequence[str], names: Sequence[str], changes: ClassChanges) -> str:
    """What to type to evaluate a file on data with other classes."""
    strange = strange_names(learned, ClassChoice(names, changes=changes))
    position = "train.other_class_names=by_position ignores the names"
    if not strange:
        return f"set train.other_class_names=by_name to take its classes by their names; {position}."
    return (
        f"it does not know {some_of(strange, _SHOWN)}{_hint(strange, learned)}; evaluate it on data without them "
        f"(data.drop), or train it on them (train.new_classes=True); {position}."
    )


def _hint(strange: Iterable[str], known: Names) -> str:
    """Names that may mean the same, and what to type if they do; "" where there are none."""
    alike = {_ALIKE.sub("", name).casefold(): name for name in known if name is not None}
    pairs = [(name, alike[key]) for name in strange if (key := _ALIKE.sub("", name).casefold()) in alike]
    if not pairs:
        return ""
    listed = some_of((f"{name!r} and the file's {other!r}" for name, other in pairs), 5)
    table = ",".join(f"{_typed(name)}:{_typed(other)}" for name, other in pairs)
    setting = shlex.quote(f"data.rename={{{table}}}")
    return f"; {listed} differ only in case, blanks, _ or -: set {setting} if they are the same"


def drop_setting(names: Iterable[str]) -> str:
    """What to type to leave classes out of the data."""
    return shlex.quote(f"data.drop=[{','.join(map(_typed, names))}]")


def _typed(name: str) -> str:
    """A name as settings take it: in quotes where it has marks that mean something there."""
    quote = "'" if '"' in name else '"'
    return f"{quote}{name}{quote}" if _MARKS.search(name) else name


def _plain(names: Iterable[str | None]) -> list[str | None]:
    """Names without blanks at their ends, None where there is none."""
    return [name if name is None else name.strip() for name in names]


def _stripped(names: Iterable[str]) -> list[str]:
    """Names without blanks at their ends."""
    return [name.strip() for name in names]

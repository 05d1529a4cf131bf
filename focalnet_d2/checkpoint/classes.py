"""Rows of class heads and label tables: the same classes in another order or number, or a changed class list."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from focalnet_d2.utils.text import some_of

from .layout import ClassRows, State

Names = Sequence[str | None]
OTHER_CLASS_NAMES = ("refuse", "by_name", "by_position")  # what becomes of a file that records other class names


@dataclass(frozen=True)
class RowMap:
    """Row `file[i]` of the file becomes row `model[i]` of the model; the model's other rows keep their values.

    The last `extra` of them are for no class.
    """

    file: list[int]
    model: list[int]
    note: str = ""
    extra: int = 0

    def in_blocks(self, size: int) -> "RowMap":
        """The same for a tensor with `size` rows for each class and none for anything else."""
        return RowMap(self._spread(self.file, size), self._spread(self.model, size), self.note)

    def _spread(self, rows: list[int], size: int) -> list[int]:
        return [row * size + k for row in rows[: len(rows) - self.extra] for k in range(size)]


def names_to_match(recorded: Names | None, names: Sequence[str] | None, rule: str, source: str) -> Sequence[str] | None:
    """The names by which rows are taken; None: by their position.

    Args:
        recorded: the classes that the file says it has; names: those of the model; None where one is not known.
        rule: of `OTHER_CLASS_NAMES`; it decides where both are known and differ, also in their order alone.
        source: the file, for messages.

    Raises:
        ValueError: they differ and the rule is "refuse", or there is no such rule.
    """
    if rule not in OTHER_CLASS_NAMES:
        raise ValueError(f"train.other_class_names={rule!r} must be one of {', '.join(OTHER_CLASS_NAMES)}.")
    if recorded is None or names is None or list(recorded) == list(names):
        return names
    if rule == "refuse":
        raise ValueError(
            f"The checkpoint {source} was trained on the classes {some_of(recorded, 10)}, the data has "
            f"{some_of(names, 10)} ({_difference(recorded, names)}): to evaluate it all the same, set "
            "train.other_class_names=by_name to take its classes by their names, or by_position to ignore the names."
        )
    return None if rule == "by_position" else names


def _difference(recorded: Names, names: Sequence[str]) -> str:
    """In one phrase what is different about two lists of names."""
    if len(recorded) != len(names):
        return f"{len(recorded)} and {len(names)} classes"
    if set(recorded) == set(names):
        return "the same classes in another order"
    return f"{len(set(names) - set(recorded))} of the {len(names)} names are not in the file"


def match_rows(
    classes: ClassRows,
    rows: int,
    num_classes: int,
    *,
    file_names: Names | None,
    model_names: Sequence[str] | None,
    new_classes: bool,
) -> RowMap | None:
    """Which row of the file is which class of the model; None if they cannot be brought together.

    If the file knows all names of the model, their rows are taken. Another list is taken only with `new_classes`: rows
    of names in both lists are copied, the others stay fresh. Where one side's names are unknown, equal numbers mean
    equal classes, and `new_classes` leaves all rows fresh. The extra rows come along in every case.

    Args:
        rows: classes of the file; num_classes: classes of the model; both without the extra rows.
    """
    file_names = file_names if file_names is not None and len(file_names) == rows else classes.names(rows)
    if model_names is not None and len(model_names) != num_classes:
        model_names = None
    if file_names is not None and model_names is not None:
        found = _match_names(file_names, model_names, new_classes)
    else:
        found = _match_numbers(classes, rows, num_classes, new_classes)
    if found is None:
        return None
    extra_of_file, extra_of_model = (list(range(n, n + classes.extra_rows)) for n in (rows, num_classes))
    return replace(found, file=found.file + extra_of_file, model=found.model + extra_of_model, extra=classes.extra_rows)


def _match_numbers(classes: ClassRows, rows: int, num_classes: int, new_classes: bool) -> RowMap | None:
    if new_classes:
        return RowMap([], [], f"all {num_classes} classes are new")
    if rows == num_classes:
        return RowMap(list(range(rows)), list(range(rows)))
    if (rows, num_classes) in classes.selections:
        chosen = list(classes.selections[rows, num_classes])
        return RowMap(chosen, list(range(num_classes)), f"{num_classes} of the file's {rows} class rows are taken")
    return None


def _match_names(file_names: Names, model_names: Sequence[str], new_classes: bool) -> RowMap | None:
    rows = {name: row for row, name in enumerate(file_names) if name is not None}
    if set(rows) >= set(model_names):
        note = f"{len(model_names)} of the file's {len(rows)} class rows are taken by name"
        note = "" if list(file_names) == list(model_names) else note
        return RowMap([rows[name] for name in model_names], list(range(len(model_names))), note)
    if not new_classes:
        return None
    shared = [(rows[name], row) for row, name in enumerate(model_names) if name in rows]
    fresh = len(model_names) - len(shared)
    note = f"{len(shared)} classes are taken from the file by name, {fresh} are new"
    return RowMap([a for a, _ in shared], [b for _, b in shared], note)


def move_rows(tensor: Tensor, fresh: Tensor, row_map: RowMap) -> Tensor:
    """(rows, ...) of the file -> the model's (num_classes, ...), with `fresh` where no row of the file belongs."""
    moved = fresh.detach().clone()
    if not (tensor.is_meta or moved.is_meta):
        moved[row_map.model] = tensor[row_map.file].to(moved)
    return moved


def spread_rows(tensor: Tensor, rows: int, places: Sequence[int], fill: float = 0) -> Tensor:
    """(K, ...) -> (rows, ...): row i at `places[i]`, `fill` in the others."""
    spread = tensor.new_full((rows, *tensor.shape[1:]), fill)
    spread[list(places)] = tensor
    return spread


def fit_class_rows(
    tensors: dict[str, Tensor], model_state: State, classes: ClassRows, row_map: RowMap
) -> dict[str, str]:
    """Brings all class tensors from (rows of the file, ...) to (rows of the model, ...); returns name -> what was done.

    Args:
        tensors: the file's tensors by the model's names, changed in place.
    """
    resized, maps = {}, dict.fromkeys(classes.keys(tensors), row_map)
    maps |= {name: row_map.in_blocks(size) for name, size in classes.block_sizes(tensors).items()}
    for name, moves in maps.items():
        if name not in model_state:
            continue
        rows, tensor = model_state[name].shape[0], tensors[name]
        unchanged = moves.file == moves.model == list(range(rows)) == list(range(tensor.shape[0]))
        if not unchanged and tensor.shape[1:] == model_state[name].shape[1:]:
            tensors[name] = move_rows(tensor, model_state[name], moves)
            resized[name] = row_map.note
    return resized

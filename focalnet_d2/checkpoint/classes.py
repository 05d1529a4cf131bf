"""Rows of class heads and label tables are moved to where the model has the same classes."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from focalnet_d2.data.annotations.ids import repeated

from .layout import ClassRows, State


@dataclass(frozen=True)
class RowMap:
    """Row `file[i]` of the file becomes row `model[i]` of the model; the model's other rows keep their values.

    A row of the model that stands several times, of merged classes, becomes the mean. The last `extra` of the rows are
    for no class.
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


def move_rows(tensor: Tensor, fresh: Tensor, row_map: RowMap) -> Tensor:
    """(rows, ...) of the file -> the model's (num_classes, ...), with `fresh` where no row of the file belongs."""
    moved = fresh.detach().clone()
    if tensor.is_meta or moved.is_meta:
        return moved
    rows = tensor[row_map.file].to(moved)
    moved[row_map.model] = rows
    for merged in repeated(row_map.model):
        moved[merged] = rows[[place for place, row in enumerate(row_map.model) if row == merged]].mean(0)
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

    Blocks of another length than their classes have, as of heads with one output for all classes, stay.

    Args:
        tensors: the file's tensors by the model's names, changed in place.
    """
    resized, maps = {}, dict.fromkeys(classes.keys(tensors), row_map)
    counts = [(state, classes.count(state)) for state in (tensors, model_state)]
    for name, size in classes.block_sizes(tensors).items():
        if all(name in state and state[name].shape[0] == size * count for state, count in counts):
            maps[name] = row_map.in_blocks(size)
    for name, moves in maps.items():
        if name not in model_state:
            continue
        rows, tensor = model_state[name].shape[0], tensors[name]
        unchanged = moves.file == moves.model == list(range(rows)) == list(range(tensor.shape[0]))
        if not unchanged and tensor.shape[1:] == model_state[name].shape[1:]:
            tensors[name] = move_rows(tensor, model_state[name], moves)
            resized[name] = row_map.note
    return resized

"""Dataset dicts that are made of columns when they are asked for."""

import json
import os
from collections.abc import Callable, Sequence
from copy import copy
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from detectron2.structures import BoxMode

from ..annotations.boxes import NO_AREA
from .block import Block, BlockWriter, Sink
from .cache import block_in_memory
from .columns import BITS, BYTES_KEY, CROWD, HAS_CROWD, HAS_MASK, NO_BOX, ODD


class PackedRecords(Sequence):
    """Detectron2's dataset dicts; records[i] is a new one, equal to that of the list that `dataset_dicts` makes.

    Args:
        block: with the columns of `columns`.
        image_root: folder of the images.
    """

    def __init__(self, block: Block, image_root: str):
        self.block = block
        self._image_root = image_root
        self._paths: Block | None = None  # of the images of the block, where the root is not enough
        self._chosen = torch.arange(len(block["heights"]))  # places in the block of the images that these are
        self._classes: np.ndarray | None = None  # in place of those of the block; below 0 without its annotations
        self._only_boxes = False

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.select(range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._record(int(self._chosen[index]))

    def select(self, places: Sequence[int] | np.ndarray) -> "PackedRecords":
        """The records at (K,) places of these, in that order."""
        return self._with(_chosen=self._chosen[torch.as_tensor(np.asarray(places, np.int64))])

    def with_found_boxes(self) -> "PackedRecords":
        """Without the annotations whose box has no pixel of the image, which no detector can find."""
        return self._with(_only_boxes=True)

    def with_classes(self, classes: Sequence[int]) -> "PackedRecords":
        """With other classes.

        Args:
            classes: what each class becomes; below 0, its annotations are left out.
        """
        new = np.asarray(classes, np.int64)
        if self._classes is not None:
            new = np.where(self._classes < 0, -1, new[self._classes])
        return self._with(_classes=None if np.array_equal(new, np.arange(len(new))) else new)

    def with_paths(self, path_of: Callable[[str], str]) -> "PackedRecords":
        """With images at other places.

        Args:
            path_of: gives the path of an image by the name in the file.
        """
        names = self.block.texts("file_names")
        paths = [path_of(name) for name in names]
        if all(path == os.path.join(self._image_root, name) for path, name in zip(paths, names)):
            return self._with(_paths=None)
        return self._with(_paths=_block_of(paths))

    def with_block(self, block: Block) -> "PackedRecords":
        """The same in another place: the block has equal bytes."""
        return self._with(block=block)

    def _with(self, **attributes: Any) -> "PackedRecords":
        other = copy(self)
        vars(other).update(attributes)
        return other

    def file_names(self) -> list[str]:
        """Path of each image."""
        if self._paths is not None:
            paths = self._paths.texts("paths")
        else:
            paths = [os.path.join(self._image_root, name) for name in self.block.texts("file_names")]
        return paths if self._is_whole() else [paths[row] for row in self._chosen.tolist()]

    def _is_whole(self) -> bool:
        """Whether these are all images of the block in its order."""
        return np.array_equal(self._chosen.numpy(), np.arange(len(self.block["heights"])))

    def image_ids(self) -> list[int | str]:
        """Id of each image."""
        if "image_ids" in self.block:
            return self.block["image_ids"][self._chosen.numpy()].tolist()
        texts = self.block.texts("image_id_texts")
        return [texts[row] for row in self._chosen.tolist()]

    def annotation_counts(self, *, without_flags: int = 0) -> np.ndarray:
        """(N,) how many annotations each image has.

        Args:
            without_flags: flags of `columns` that those have which do not count.
        """
        counted = self._counted(without_flags)[self.block["order"]]
        before = np.append(0, np.cumsum(counted))[self.block["first"]]  # (images of the block + 1,)
        return np.diff(before)[self._chosen.numpy()]

    def _counted(self, without_flags: int) -> np.ndarray:
        """(M,) bool: which annotations of the block these images would have, but for those with some flags."""
        counted = (self.block["flags"] & (without_flags | (NO_BOX if self._only_boxes else 0))) == 0
        return counted if self._classes is None else counted & (self._classes[self.block["classes"]] >= 0)

    def have_targets(self) -> np.ndarray:
        """(N,) bool: whether each image has an annotation that is no crowd."""
        return self.annotation_counts(without_flags=CROWD) > 0

    def lack_masks(self) -> np.ndarray:
        """(N,) bool: whether each image has an annotation without a mask."""
        return self.annotation_counts(without_flags=HAS_MASK) > 0

    def class_counts(self, classes: int) -> list[int]:
        """How many annotations that are no crowds each class has."""
        block, rows = self.block, self._chosen.numpy()
        chosen = np.zeros(len(block["heights"]), np.int64)
        np.add.at(chosen, rows, 1)
        counted, order = self._counted(CROWD), block["order"]
        times = np.repeat(chosen, np.diff(block["first"])) * counted[order]  # (M,) in the order of `order`
        found = block["classes"] if self._classes is None else np.maximum(self._classes, 0)[block["classes"]]
        return np.bincount(found[order], times, minlength=classes).astype(int).tolist()

    def _record(self, row: int) -> dict:
        block = self.block
        first, end = block["first"][row : row + 2].tolist()
        numbers = block["order"][first:end].tolist()
        if self._only_boxes:
            numbers = [number for number in numbers if not block["flags"][number] & NO_BOX]
        if self._classes is not None:
            numbers = [number for number in numbers if self._class(number) >= 0]
        return {
            "file_name": self._path(row),
            "height": int(block["heights"][row]),
            "width": int(block["widths"][row]),
            "image_id": self._image_id(row),
            "annotations": [self._annotation(number) for number in numbers],
        }

    def _path(self, row: int) -> str:
        if self._paths is not None:
            return self._paths.text("paths", row)
        return os.path.join(self._image_root, self.block.text("file_names", row))

    def _class(self, number: int) -> int:
        found = int(self.block["classes"][number])
        return found if self._classes is None else int(self._classes[found])

    def _image_id(self, row: int) -> int | str:
        if "image_ids" in self.block:
            return int(self.block["image_ids"][row])
        return self.block.text("image_id_texts", row)

    def _annotation(self, number: int) -> dict:
        block, flags = self.block, int(self.block["flags"][number])
        if flags & ODD:
            return self._odd_annotation(number)
        annotation: dict[str, Any] = {"iscrowd": int(flags & CROWD > 0)} if flags & HAS_CROWD else {}
        annotation["bbox"] = _as_written(block["boxes"], block["whole_in_boxes"], 4 * number, 4)
        if flags & NO_BOX:
            annotation[NO_AREA] = True
        annotation |= {"category_id": self._class(number), "bbox_mode": BoxMode.XYWH_ABS}
        if flags & HAS_MASK:
            annotation["segmentation"] = self._polygons(number)
        return annotation

    def _polygons(self, number: int) -> list[list[float]]:
        block = self.block
        first, end = block["polygon_starts"][number : number + 2].tolist()
        lengths = block["lengths"][first:end].tolist()
        values = _as_written(block["numbers"], block["whole"], int(block["number_starts"][number]), sum(lengths))
        ends = list(accumulate(lengths))
        return [values[end - length : end] for length, end in zip(lengths, ends)]

    def _odd_annotation(self, number: int) -> dict:
        place = int(np.searchsorted(self.block["odd"], number))
        annotation = json.loads(self.block.text("odd_texts", place))
        annotation |= {"category_id": self._class(number), "bbox_mode": BoxMode(annotation["bbox_mode"])}
        mask = annotation.get("segmentation")
        if isinstance(mask, dict) and isinstance(mask["counts"], dict):
            mask["counts"] = mask["counts"][BYTES_KEY].encode("ascii")
        return annotation


def _block_of(paths: list[str]) -> Block:
    """Paths that workers share."""

    def write(sink: Sink) -> None:
        writer = BlockWriter(sink)
        writer.add_texts("paths", paths)
        writer.finish({})

    return block_in_memory(write)


def _as_written(numbers: np.ndarray, whole: np.ndarray, start: int, count: int) -> list[float]:
    """Some of the numbers, those as whole numbers that were written without a point."""
    values: list[float] = numbers[start : start + count].tolist()
    before, bits = start % BITS, whole[start // BITS : (start + count - 1) // BITS + 1]
    if bits.any():
        for place in np.flatnonzero(np.unpackbits(bits)[before : before + count]).tolist():
            values[place] = int(values[place])
    return values

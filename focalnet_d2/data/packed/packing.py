"""From checked annotations to columns, a chunk at a time."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from mmap import mmap
from typing import Any

import numpy as np

from ..annotations.ids import Id
from ..annotations.json_file import Entry
from ..annotations.json_stream import UnusualJsonError
from ..instance_dicts import annotation_dict
from .block import BlockWriter
from .chunk import Chunk, whole_numbers
from .columns import BITS, BYTES_KEY, HAS_MASK, ODD

_BLOCK = 1 << 22  # bytes
_DIGIT = 16  # bits by which rows are sorted at once: numpy sorts so many by counting


class Packer:
    """Writes the columns of annotations; the polygons go to the block at once, the small columns at the end.

    Args:
        writer: of the block.
        contiguous: class of each category id.
    """

    def __init__(self, writer: BlockWriter, contiguous: Mapping[Id, int]):
        self._writer = writer
        self._contiguous = contiguous
        self._columns: dict[str, _Column] = {}
        self._odd: list[int] = []
        self._odd_texts: list[str] = []
        self._count = 0  # annotations
        self._numbers = 0  # of polygons, with those that fill bytes

    def add(self, chunk: Chunk, unusable: Mapping[int, Any]) -> None:
        """Writes the next annotations of the file.

        Args:
            unusable: by the places of those whose mask cannot be used, where the chunk has masks.

        Raises:
            UnusualJsonError: a number that is a truth value, or a whole one that no float holds.
        """
        count, flags = len(chunk.rows), chunk.flags
        polygons: list[Any] = [()] * count
        if chunk.has_masks or chunk.odd:
            masks = [
                annotation["segmentation"] if chunk.has_masks and index not in unusable else None
                for index, annotation in enumerate(chunk.annotations)
            ]
            flags, polygons = flags | _mask_flags(masks), [mask or () for mask in masks]
            for index in sorted({*chunk.odd, *(index for index, mask in enumerate(masks) if type(mask) is dict)}):
                self._add_odd(self._count + index, chunk.annotations[index], masks[index])
                polygons[index], flags[index] = (), flags[index] | ODD
        self._keep("flags", flags, np.uint8)
        self._keep("rows", chunk.rows, np.int32)
        self._keep("classes", chunk.classes, np.int32)
        self._keep("boxes", chunk.boxes.ravel(), np.float64)
        self._keep("whole_in_boxes", chunk.whole, np.bool_)
        self._add_polygons(polygons)
        self._count += count

    def finish(self, images: int) -> None:
        """Writes all other columns.

        Args:
            images: how many there are.
        """
        rows, whole, counts = (self._columns.pop(name) for name in ("rows", "whole_in_boxes", "polygon_counts"))
        while self._columns:  # the large ones first, whose memory the others take
            name, column = self._columns.popitem()
            for part in column.parts():
                self._writer.add(name, part)
            del column
        self._writer.add("whole_in_boxes", np.packbits(whole.joined()))
        self._writer.add("polygon_starts", np.append(0, np.cumsum(counts.joined(), dtype=np.int64)))
        del whole, counts
        places = rows.joined()
        del rows
        self._writer.add("first", np.append(0, np.cumsum(np.bincount(places, minlength=images))))
        self._writer.add("order", stable_order(places))
        self._writer.add("odd", np.array(self._odd, np.int64))
        self._writer.add_texts("odd_texts", self._odd_texts)

    def _keep(self, name: str, values: np.ndarray, dtype: Any) -> None:
        self._columns.setdefault(name, _Column(dtype)).add(values)

    def _add_odd(self, index: int, annotation: Entry, mask: Any) -> None:
        self._odd.append(index)
        record = annotation_dict(annotation, mask, self._contiguous)
        self._odd_texts.append(json.dumps(record, default=lambda value: {BYTES_KEY: value.decode("ascii")}))

    def _add_polygons(self, masks: Sequence[Sequence[list[float]]]) -> None:
        """Writes the polygons of each annotation."""
        polygons = list(chain.from_iterable(masks))
        counts = np.fromiter(map(len, masks), np.int64, len(masks))
        lengths = np.fromiter(map(len, polygons), np.int32, len(polygons))
        ends = np.append(0, np.cumsum(lengths, dtype=np.int64))
        values = np.zeros(-(-int(ends[-1]) // BITS) * BITS)
        values[: ends[-1]] = np.fromiter(chain.from_iterable(polygons), np.float64, ends[-1])
        self._keep("whole", np.packbits(whole_numbers(values[: ends[-1]], polygons)), np.uint8)
        self._keep("number_starts", self._numbers + ends[np.append(0, np.cumsum(counts[:-1]))], np.int64)
        self._keep("polygon_counts", counts, np.int32)
        self._keep("lengths", lengths, np.int32)
        self._writer.add("numbers", values)
        self._numbers += len(values)


class _Column:
    """Numbers that come in pieces, in memory that goes back to the system when nobody has the column any more."""

    def __init__(self, dtype: Any):
        self._dtype = dtype
        self._blocks: list[np.ndarray] = []
        self._left = 0  # places of the last block

    def add(self, values: np.ndarray) -> None:
        """Goes on with (N,) numbers."""
        while len(values):
            if not self._left:
                self._blocks.append(np.frombuffer(mmap(-1, _BLOCK), self._dtype))
                self._left = len(self._blocks[-1])
            block, taken = self._blocks[-1], values[: self._left]
            first = len(block) - self._left
            block[first : first + len(taken)] = taken
            values, self._left = values[len(taken) :], self._left - len(taken)

    def parts(self) -> list[np.ndarray]:
        """All of it, in pieces; at least one."""
        if not self._blocks:
            return [np.empty(0, self._dtype)]
        last = self._blocks[-1]
        return [*self._blocks[:-1], last[: len(last) - self._left]]

    def joined(self) -> np.ndarray:
        """All of it, (N,)."""
        return np.concatenate(self.parts())


def _mask_flags(masks: Sequence[Any]) -> np.ndarray:
    """(N,) uint8: the flag of those that have one."""
    return np.array([HAS_MASK * (mask is not None) for mask in masks], np.uint8)


def stable_order(rows: np.ndarray) -> np.ndarray:
    """(N,) int32 places of (N,) whole numbers from 0 on in rising order, those of equal ones in theirs."""
    order = np.argsort((rows & ((1 << _DIGIT) - 1)).astype(np.uint16), kind="stable").astype(np.int32)
    upper = (rows >> _DIGIT).astype(np.uint16)
    return order[np.argsort(upper[order], kind="stable")] if upper.any() else order


def write_images(writer: BlockWriter, images: Sequence[Entry]) -> None:
    """Writes the columns of checked images.

    Raises:
        UnusualJsonError: an image id that is no number of 64 bits.
    """
    for name, key in (("heights", "height"), ("widths", "width")):
        writer.add(name, np.array([image[key] for image in images], np.int32))
    writer.add_texts("file_names", [image["file_name"] for image in images])
    ids = [image["id"] for image in images]
    if isinstance(ids[0], str):
        writer.add_texts("image_id_texts", ids)
        return
    try:
        writer.add("image_ids", np.array(ids, np.int64))
    except OverflowError as error:
        raise UnusualJsonError("an image id of more than 64 bits") from error

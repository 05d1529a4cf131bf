"""From checked annotations to columns, a chunk at a time."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..annotations.ids import Id
from ..annotations.json_file import Entry
from ..annotations.json_stream import UnusualJsonError
from ..instance_dicts import annotation_dict
from .block import BlockWriter
from .chunk import Chunk, whole_numbers
from .columns import BITS, BYTES_KEY, HAS_MASK, ODD

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
        self._columns: dict[str, list[np.ndarray]] = defaultdict(list)
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
        masks: list[Any] = [None] * len(chunk.annotations)
        if chunk.has_masks:
            masks = [
                None if index in unusable else annotation["segmentation"]
                for index, annotation in enumerate(chunk.annotations)
            ]
        flags = chunk.flags | np.array([HAS_MASK * (mask is not None) for mask in masks], np.uint8)
        polygons = [mask or () for mask in masks]
        odd = [index for index, mask in enumerate(masks) if type(mask) is dict] if chunk.has_masks else []
        for index in sorted({*chunk.odd, *odd}):
            self._add_odd(self._count + index, chunk.annotations[index], masks[index])
            polygons[index], flags[index] = (), flags[index] | ODD
        self._keep("flags", flags, np.uint8)
        self._keep("rows", chunk.rows, np.int32)
        self._keep("classes", chunk.classes, np.int32)
        self._keep("boxes", chunk.boxes.ravel(), np.float64)
        self._keep("whole_in_boxes", chunk.whole, np.bool_)
        self._add_polygons(polygons)
        self._count += len(masks)

    def finish(self, images: int) -> None:
        """Writes all other columns.

        Args:
            images: how many there are.
        """
        columns = self._columns
        rows, counts, whole = (
            np.concatenate(columns.pop(name)) for name in ("rows", "polygon_counts", "whole_in_boxes")
        )
        columns["order"] = [stable_order(rows)]
        columns["first"] = [np.append(0, np.cumsum(np.bincount(rows, minlength=images)))]
        columns["polygon_starts"] = [np.append(0, np.cumsum(counts, dtype=np.int64))]
        columns["whole_in_boxes"] = [np.packbits(whole)]
        columns["odd"] = [np.array(self._odd, np.int64)]
        while columns:
            name, parts = columns.popitem()
            for part in parts:
                self._writer.add(name, part)
        self._writer.add_texts("odd_texts", self._odd_texts)

    def _keep(self, name: str, values: np.ndarray, dtype: Any) -> None:
        self._columns[name].append(values.astype(dtype, copy=False))

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

"""From checked annotations to columns, a chunk at a time."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..annotations.boxes import NO_AREA
from ..annotations.ids import Id
from ..annotations.json_file import Entry
from ..annotations.json_stream import UnusualJsonError
from ..instance_dicts import annotation_dict
from .block import BlockWriter
from .columns import BITS, BYTES_KEY, CROWD, HAS_CROWD, HAS_MASK, NO_BOX, ODD

_EXACT = 2**53  # whole numbers below it are floats without loss


class Packer:
    """Writes the columns of annotations; the polygons go to the block at once, the small columns at the end.

    Args:
        writer: of the block.
        rows: place of each image by its id, in the order of the ids.
        contiguous: class of each category id.
    """

    def __init__(self, writer: BlockWriter, rows: Mapping[Id, int], contiguous: Mapping[Id, int]):
        self._writer = writer
        self._rows = rows
        self._contiguous = contiguous
        self._columns: dict[str, list[np.ndarray]] = defaultdict(list)
        self._odd: list[int] = []
        self._odd_texts: list[str] = []
        self._count = 0  # annotations
        self._numbers = 0  # of polygons, with those that fill bytes

    def add(self, annotations: Sequence[Entry], boxes: np.ndarray, unusable: Collection[int]) -> None:
        """Writes the next annotations of the file.

        Args:
            boxes: (N, 4) their boxes.
            unusable: places of those whose mask cannot be used.

        Raises:
            UnusualJsonError: a number that is a truth value, or a whole one that no float holds.
        """
        masks = [annotation["segmentation"] for annotation in annotations] if not unusable else [
            None if index in unusable else annotation["segmentation"] for index, annotation in enumerate(annotations)
        ]  # fmt: skip
        polygons: list[Any] = [mask or () for mask in masks]
        flags = _flags(annotations, masks)
        for index in _odd_places(annotations, masks):
            self._add_odd(self._count + index, annotations[index], masks[index])
            polygons[index], flags[index] = (), flags[index] | ODD
        self._keep("flags", flags, np.uint8)
        self._keep("rows", [self._rows[annotation["image_id"]] for annotation in annotations], np.int64)
        self._keep("classes", [self._contiguous[annotation["category_id"]] for annotation in annotations], np.int32)
        self._keep("boxes", boxes.ravel(), np.float64)
        self._keep("whole_in_boxes", whole_numbers(boxes.ravel(), [one["bbox"] for one in annotations]), np.uint8)
        self._add_polygons(polygons)
        self._count += len(annotations)

    def finish(self, images: Sequence[Entry]) -> None:
        """Writes all other columns.

        Args:
            images: those of `rows`, in that order.

        Raises:
            UnusualJsonError: an image id that is no number of 64 bits.
        """
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        rows, counts = columns.pop("rows"), columns.pop("polygon_counts")
        columns["order"] = np.argsort(rows, kind="stable").astype(np.int32)
        columns["first"] = np.append(0, np.cumsum(np.bincount(rows, minlength=len(images))))
        columns["polygon_starts"] = np.append(0, np.cumsum(counts))
        columns["odd"] = np.array(self._odd, np.int64)
        columns["whole_in_boxes"] = np.packbits(columns["whole_in_boxes"])
        for name, values in columns.items():
            self._writer.add(name, values)
        self._writer.add_texts("odd_texts", self._odd_texts)
        _write_images(self._writer, images)

    def _keep(self, name: str, values: Any, dtype: Any) -> None:
        self._columns[name].append(np.asarray(values, dtype))

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
        self._keep("polygon_counts", counts, np.int64)
        self._keep("lengths", lengths, np.int32)
        self._writer.add("numbers", values)
        self._numbers += len(values)


def whole_numbers(values: np.ndarray, pieces: Sequence[Sequence[float]]) -> np.ndarray:
    """(N,) bool: which numbers are written without a point.

    Args:
        values: (N,) the numbers as floats.
        pieces: the numbers as they were read, in lists that follow each other.

    Raises:
        UnusualJsonError: one is a truth value, or a whole number that no float holds.
    """
    whole = np.zeros(len(values), bool)
    suspects = np.flatnonzero(values == np.rint(values))
    ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
    owners = np.searchsorted(ends, suspects, side="right")
    places = suspects - ends[owners]  # from the end of the piece
    kinds = [type(pieces[owner][place]) for owner, place in zip(owners.tolist(), places.tolist())]
    whole[suspects] = [kind is int for kind in kinds]
    if not set(kinds) <= {int, float} or (np.abs(values[whole]) >= _EXACT).any():
        raise UnusualJsonError("a number is a truth value, or too large")
    return whole


def _flags(annotations: Sequence[Entry], masks: Sequence[Any]) -> np.ndarray:
    """(N,) flags of `columns`."""
    crowds = [annotation.get("iscrowd") for annotation in annotations]  # null is 0 by now
    given, crowd = np.array([value is not None for value in crowds]), np.array([bool(value) for value in crowds])
    no_box = np.array([NO_AREA in annotation for annotation in annotations])
    has_mask = np.array([mask is not None for mask in masks])
    return given * HAS_CROWD + crowd * CROWD + no_box * NO_BOX + has_mask * HAS_MASK


def _odd_places(annotations: Sequence[Entry], masks: Sequence[Any]) -> list[int]:
    """Where annotations have more than box and polygons, or a flag that is no whole number."""
    return [
        index
        for index, (annotation, mask) in enumerate(zip(annotations, masks))
        if type(mask) is dict or annotation.get("keypoints") or type(annotation.get("iscrowd", 0)) is not int
    ]


def _write_images(writer: BlockWriter, images: Sequence[Entry]) -> None:
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

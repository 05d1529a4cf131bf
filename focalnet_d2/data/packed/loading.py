"""From a big COCO instances file to packed dataset dicts: a chunk at a time, by the rules of `annotations`."""

import logging
import os
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from focalnet_d2.utils.garbage_collection import paused_collection

from ..annotations import instances
from ..annotations.box_forms import BoxForms
from ..annotations.faults import strict
from ..annotations.findings import Findings
from ..annotations.ids import Id
from ..annotations.json_file import Entry
from ..annotations.json_stream import BIG, JsonStream, UnusualJsonError
from ..annotations.masks import find_unusable_masks
from ..annotations.oddities import Oddities
from ..instance_dicts import DamagedMasks, image_columns
from .block import Block, BlockWriter, Sink
from .cache import cached_block
from .chunk import Chunk, Lists, Places, checked_chunk, chunk_of_text, usual_chunk
from .packing import Packer, write_images
from .records import PackedRecords

_IMAGE_KEYS = ("id", "file_name", "height", "width")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackedInstances:
    """What a big file says.

    Attributes:
        class_names: name of each category id, in the order of the ids.
        block: its columns.
    """

    class_names: dict[Id, str]
    block: Block

    def records(self, image_root: str) -> PackedRecords:
        """Dataset dicts, category ids contiguous in the order of `class_names`."""
        return PackedRecords(self.block, image_root)

    def used_classes(self) -> list[int]:
        """Contiguous classes that annotations have."""
        return np.unique(self.block["classes"]).tolist()


def load_packed(path: str | Path) -> PackedInstances | None:
    """Reads a file, or finds what was made of it before, and says in one line what is odd about it.

    Returns:
        None where the file is small, cannot be read a chunk at a time, or cannot be used: `read_instances` reads it, or
        says what is wrong.
    """
    try:
        if os.path.getsize(path) < BIG:
            return None
        block = cached_block(path, partial(pack_instances, path))
    except (UnusualJsonError, ValueError, OSError) as error:
        logger.debug("%s is read at once: %s", path, error)
        return None
    _log(str(path), block.facts)
    return PackedInstances(dict(block.facts["class_names"]), block)


def _log(path: str, facts: dict[str, Any]) -> None:
    """What reading the file at once would log."""
    oddities = Oddities(f"{path} ({facts['annotations']} annotations)")
    oddities.counts = Counter(facts["oddities"])
    oddities.log(logger, instances.level_of(oddities))
    DamagedMasks(**facts["damaged"]).log(path)


@paused_collection()
def pack_instances(path: str | Path, sink: Sink) -> None:
    """Writes the block of a file.

    Raises:
        UnusualJsonError, ValueError: the file has to be read at once.
    """
    with open(path, "rb") as file:
        _Packing(str(path), BlockWriter(sink)).read(file)


class _Packing:
    """What is known of a file while it is read."""

    def __init__(self, path: str, writer: BlockWriter):
        self._writer = writer
        self._findings = Findings(path, strict)
        self._images: list[Entry] = []
        self._categories: list[Entry] = []
        self._begun: tuple[Lists, Packer] | None = None  # once there are images and categories
        self._damaged = DamagedMasks()
        self._forms = BoxForms()
        self._ids: list[np.ndarray] = []  # of annotations
        self._annotations = 0

    def read(self, file: BinaryIO) -> None:
        """Reads the whole file."""
        JsonStream(file).take_all(self._take_images, self._categories.extend, self._take_annotations, self._take_text)
        oddities = self._findings.oddities
        if self._begun is None or oddities.counts[instances.CROWDS] == self._damaged.total:
            raise UnusualJsonError("there is nothing to find")
        if self._forms.other_form:
            raise UnusualJsonError("the boxes are not what they should be")
        oddities.add(instances.REPEATED_IDS, _repeated(np.concatenate(self._ids)))
        self._ids.clear()
        lists, packer = self._begun
        packer.finish(len(lists))
        self._writer.finish(
            {
                "class_names": list(lists.listed.class_names.items()),
                "annotations": self._annotations,
                "oddities": dict(+oddities.counts),
                "damaged": vars(self._damaged),
            }
        )

    def _take_images(self, entries: list[Entry]) -> None:
        self._images += [{key: entry[key] for key in _IMAGE_KEYS if key in entry} for entry in entries]

    def _begin(self) -> tuple[Lists, Packer]:
        """What annotations are compared with, and where they go; at first the images go there and are forgotten."""
        if self._begun is None:
            images = instances.checked_images(self._images, self._findings)
            names = instances.checked_class_names(self._categories, self._findings)
            image_columns(images, self._findings.path)
            listed = instances.Listed.of(images, names)
            classes = Places({key: place for place, key in enumerate(names)})
            write_images(self._writer, images)
            self._images = []
            lists = Lists(listed, Places(listed.places), classes, self._findings)
            self._begun = lists, Packer(self._writer, classes.of)
        return self._begun

    def _take_text(self, text: bytes) -> bool:
        """Takes annotations that are boxes alone as they are written; False where there are others."""
        lists, packer = self._begin()
        chunk = chunk_of_text(text, lists)
        if chunk is None:
            return False
        self._count(chunk, len(chunk.rows))
        self._damaged.add((), {}, len(chunk.rows))
        packer.add(chunk, {})
        return True

    def _take_annotations(self, entries: list[Entry]) -> None:
        lists, packer = self._begin()
        count = len(entries)
        chunk = usual_chunk(entries, lists) or checked_chunk(entries, lists)
        self._count(chunk, count)
        unusable = find_unusable_masks(chunk.annotations, lists) if chunk.has_masks else {}
        self._damaged.add(chunk.annotations, unusable, len(chunk.rows))
        packer.add(chunk, unusable)

    def _count(self, chunk: Chunk, count: int) -> None:
        """Counts a chunk that is left of so many annotations."""
        self._annotations += count
        self._forms.add(chunk.boxes, chunk.sizes)
        self._ids.append(chunk.ids)


def _repeated(ids: np.ndarray) -> int:
    """How many of (N,) numbers come a second time; those of most files rise."""
    return 0 if (ids[1:] > ids[:-1]).all() else len(ids) - len(np.unique(ids))

"""From a big COCO instances file to packed dataset dicts: a chunk at a time, by the rules of `annotations`."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
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
from ..annotations.masks import Size, find_unusable_masks
from ..annotations.oddities import Oddities
from ..instance_dicts import DamagedMasks, image_columns
from .block import Block, BlockWriter, Sink
from .cache import cached_block
from .chunk import Places, checked_chunk, usual_chunk
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
        self._chunks: _Chunks | None = None  # once there are images and categories
        self._damaged = DamagedMasks()
        self._forms = BoxForms()
        self._ids: list[np.ndarray] = []  # of annotations
        self._annotations = 0

    def read(self, file: BinaryIO) -> None:
        """Reads the whole file."""
        JsonStream(file).take_all(self._take_images, self._categories.extend, self._take_annotations)
        oddities = self._findings.oddities
        if self._chunks is None or oddities.counts[instances.CROWDS] == self._damaged.total:
            raise UnusualJsonError("there is nothing to find")
        if self._forms.other_form:
            raise UnusualJsonError("the boxes are not what they should be")
        oddities.add(instances.REPEATED_IDS, _repeated(np.concatenate(self._ids)))
        self._ids.clear()
        self._chunks.packer.finish(len(self._chunks.images.of))
        self._writer.finish(
            {
                "class_names": list(self._chunks.listed.class_names.items()),
                "annotations": self._annotations,
                "oddities": dict(+oddities.counts),
                "damaged": vars(self._damaged),
            }
        )

    def _take_images(self, entries: list[Entry]) -> None:
        self._images += [{key: entry[key] for key in _IMAGE_KEYS if key in entry} for entry in entries]

    def _begin(self) -> "_Chunks":
        """Writes the images, which then are forgotten."""
        images = instances.checked_images(self._images, self._findings)
        names = instances.checked_class_names(self._categories, self._findings)
        image_columns(images, self._findings.path)
        listed = instances.Listed.of(images, names)
        write_images(self._writer, images)
        self._images = []
        classes = Places(list(names))
        return _Chunks(listed, Places(list(listed.places)), classes, Packer(self._writer, classes.of))

    def _take_annotations(self, entries: list[Entry]) -> None:
        self._chunks = chunks = self._chunks or self._begin()
        self._annotations += len(entries)
        listed = (chunks.images, chunks.classes, chunks.listed, self._findings)
        chunk = usual_chunk(entries, *listed) or checked_chunk(entries, *listed)
        self._forms.add(chunk.boxes, chunk.sizes)
        unusable = find_unusable_masks(chunk.annotations, chunks) if chunk.has_masks else {}
        self._damaged.add(chunk.annotations, unusable)
        self._ids.append(chunk.ids)
        chunks.packer.add(chunk, unusable)


@dataclass(frozen=True)
class _Chunks(Mapping[Id, Size]):
    """What chunks of annotations are compared with, and where they go; as a mapping, height and width by image id."""

    listed: instances.Listed
    images: Places
    classes: Places
    packer: Packer

    def __getitem__(self, image_id: Id) -> Size:
        width, height = self.listed.sizes[self.images.of[image_id]].tolist()
        return int(height), int(width)

    def __iter__(self) -> Iterator[Id]:
        return iter(self.images.of)

    def __len__(self) -> int:
        return len(self.images.of)


def _repeated(ids: np.ndarray) -> int:
    """How many of (N,) numbers come a second time; those of most files rise."""
    return 0 if (ids[1:] > ids[:-1]).all() else len(ids) - len(np.unique(ids))

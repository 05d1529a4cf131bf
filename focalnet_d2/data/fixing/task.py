"""What is to be written of one part of a data set."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..annotations.ids import Id
from ..folders.dataset import FolderDataset, Part
from .changes import Changes


@dataclass(frozen=True)
class Task:
    """A part that is to be mended.

    Attributes:
        dataset: that has it.
        name: a key of `dataset.parts`.
        left_out: reasons by the ids of images that are there twice.
        changes: gets what is changed.
        only_boxes: whether objects without masks stay as they are beside others.
        has_channels: see `ImageFolder`.
    """

    dataset: FolderDataset
    name: str
    left_out: Mapping[Id, str]
    changes: Changes
    only_boxes: bool = False
    has_channels: bool = False

    @property
    def part(self) -> Part:
        """Where the originals are."""
        return self.dataset.parts[self.name]

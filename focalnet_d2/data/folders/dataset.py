"""What was found in a folder, as plain values that a recipe keeps."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..class_map import ClassMap

KINDS = ("instances", "panoptic", "semantic", "classification")
PARTS = ("train", "val", "test")
AUTO = "auto"  # the layout that fits
LAYOUT_NAMES = ("coco", "coco-panoptic", "yolo", "voc", "cvat", "labelme", "semantic", "class-folders")


@dataclass(frozen=True)
class Part:
    """One part of a data set.

    Attributes:
        images: folder that relative image names begin at.
        annotations: what says where things are: a JSON, an XML, a text file, or a folder of such files or of PNGs; of
            classification the folder of the class folders.
        options: more that the layout's reader needs (panoptic_root, ...), plain values.
        image_list: text file with one image name a line, the ones that belong to this part; "" for all.
    """

    images: str
    annotations: str
    options: Mapping[str, Any] = field(default_factory=dict)
    image_list: str = ""


def image_name(file: str, part: Part) -> str:
    """The name of an image in lists, and its id where labels give it none: its path relative to the image folder, with
    "/"."""
    return os.path.relpath(file, part.images).replace(os.sep, "/")


@dataclass(frozen=True)
class Split:
    """How validation images are split off the training part that both then share.

    Attributes:
        share: of the images, or of the groups.
        seed: another seed, another split; it depends on nothing but names, seed and share.
        groups: regular expression; images whose match (or first group) is the same text stay together. "": each alone.
    """

    share: float = 0.2
    seed: int = 0
    groups: str = ""


@dataclass(frozen=True)
class FolderDataset:
    """A data set that was found in a folder.

    Attributes:
        root: the folder, absolute.
        layout: a key of `layouts.LAYOUTS`, such as "coco" or "yolo".
        kind: of `KINDS`.
        parts: by name, of `PARTS`; "train" is there unless the data are only for evaluation.
        classes: the class list before any change by `data.rename`, `data.merge` or `data.drop`.
        reason: in one phrase why this layout was recognized, for people.
        split: None where the folder has a validation part.
        has_masks: of instances, whether every object has a mask.
        image_files: how many images lie in and below the folder, whatever they are; 0 if nobody has counted.
    """

    root: str
    layout: str
    kind: str
    parts: Mapping[str, Part]
    classes: ClassMap
    reason: str = ""
    split: Split | None = None
    has_masks: bool = False
    image_files: int = 0

    def parts_on_disk(self) -> list[str]:
        """Names of the parts without a validation part that is still to be split off, which is the training part."""
        return [name for name in self.parts if self.split is None or name != "val"]

    def to_plain(self) -> dict[str, Any]:
        """Plain values for YAML; the inverse of `from_plain`."""
        return {**asdict(self), "classes": self.classes.to_plain()}

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> "FolderDataset":
        """The data set that a recipe keeps.

        Raises:
            ValueError: the content is no such data set.
        """
        try:
            return cls(
                **{
                    **content,
                    "parts": {name: Part(**part) for name, part in content["parts"].items()},
                    "classes": ClassMap.from_plain(content["classes"]),
                    "split": None if content["split"] is None else Split(**content["split"]),
                }
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"The recipe's data.found is damaged ({error}): start again with data=DIR.") from error


@dataclass(frozen=True)
class ListedImage:
    """An image of a semantic or classification set.

    Attributes:
        file_name: path of the image.
        truth: path of the label PNG, or the id of the class.
    """

    file_name: str
    truth: str | int


class ListedImages(Sequence[ListedImage]):
    """Images of such a set, each made when it is asked for.

    Args:
        items: what they are made of.
        make: makes one.
    """

    def __init__(self, items: Sequence[Any], make: Callable[[Any], ListedImage]) -> None:
        self._items, self._make = items, make

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place: Any) -> Any:
        """An image by its place."""
        return self._make(self._items[place])

    def __iter__(self) -> Iterator[ListedImage]:
        return map(self._make, self._items)

"""The downloaded files of ADE20K's scene parsing benchmark, checked while they are found and read.

images/{training,validation}/*.jpg
annotations/{training,validation}/*.png            grey: 0 unlabelled, classes 1 to 150
annotations_instance/{training,validation}/*.png   red: class 1 to 100, green: instance, 0 = none
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.ade20k_classes import ADE20K_CLASSES, ADE20K_THING_IDS
from ..panoptic_labels import read_panoptic_ids
from .files import check_rgb, image_size, read_labels

SPLITS = {"train": "training", "val": "validation"}


@dataclass(frozen=True)
class Source:
    """The files of one image."""

    image: Path
    labels: Path
    instances: Path

    @property
    def name(self) -> str:
        """The image id."""
        return self.image.stem


def find_sources(folder: Path, split: str, *, needs_instances: bool) -> list[Source]:
    """The files of one split in the order of their names; with all of them there.

    Raises:
        FileNotFoundError: a folder, an image or its labels are missing.
    """
    kinds = {"images": ".jpg", "annotations": ".png"} | ({"annotations_instance": ".png"} if needs_instances else {})
    stems: dict[str, set[str]] = {}
    for kind, suffix in kinds.items():
        place = folder / kind / SPLITS[split]
        if not place.is_dir():
            hint = ", or leave the tasks panoptic and instance out" if kind == "annotations_instance" else ""
            raise FileNotFoundError(f"The folder {place} does not exist: put ADE20K's {kind} there{hint}.")
        stems[kind] = {path.stem for path in place.glob(f"[!.]*{suffix}")}
    everything = set().union(*stems.values())
    if not everything:
        raise FileNotFoundError(f"The folder {folder / 'images' / SPLITS[split]} holds no images (*.jpg).")
    for kind, suffix in kinds.items():
        if missing := sorted(everything - stems[kind]):
            raise FileNotFoundError(
                f"The folder {folder / kind / SPLITS[split]} lacks {len(missing)} of the {len(everything)} files of "
                f"this split, {missing[0]}{suffix} for one: complete it, or remove what belongs to them elsewhere."
            )
    images, labels, instances = (
        folder / kind / SPLITS[split] for kind in ("images", "annotations", "annotations_instance")
    )
    return [Source(images / f"{s}.jpg", labels / f"{s}.png", instances / f"{s}.png") for s in sorted(everything)]


def read_semantic(source: Source) -> np.ndarray:
    """(H, W) uint8 labels as downloaded: 0 unlabelled, 1 to 150.

    Raises:
        ValueError: the file is damaged, has another size than the image or another kind of pixels, or values over 150.
    """
    labels = read_labels(source.labels, image_size(source.image))
    if labels.max() > len(ADE20K_CLASSES):
        raise ValueError(
            f"The label file {source.labels} has the value {labels.max()}; ADE20K has 0 to {len(ADE20K_CLASSES)}: "
            "replace it."
        )
    return labels


def read_instances(source: Source) -> tuple[np.ndarray, dict[int, int]]:
    """(H, W) instance numbers 1 to 255, 0 where there is none, and the class (0 to 149) of each number.

    Raises:
        ValueError: as `read_semantic`; or an instance has several classes or an unknown one.
    """
    check_rgb(source.instances, image_size(source.image))
    pixels = read_panoptic_ids(source.instances) & 0xFFFF  # red + 256 green
    classes: dict[int, int] = {}
    for number, red in (divmod(int(value), 256) for value in np.flatnonzero(np.bincount(pixels.ravel()))):
        if number == 0:
            continue
        if number in classes:
            raise ValueError(
                f"The label file {source.instances} gives instance {number} (green) several classes (red): replace it."
            )
        if not 1 <= red <= len(ADE20K_THING_IDS):
            raise ValueError(
                f"The label file {source.instances} gives instance {number} (green) the class {red} (red); classes "
                f"are 1 to {len(ADE20K_THING_IDS)}: replace it."
            )
        classes[number] = ADE20K_THING_IDS[red - 1]
    return pixels >> 8, classes

"""`check-data --fix`: a mended copy of a data set, which appears whole or not at all.

annotations/instances_train.json   boxes and masks, whatever layout they had
annotations/panoptic_train.json    segments, and panoptic_train/ with their PNGs
train/                             images of both
images/train/   labels/train/      semantic sets, with classes.json
train/<class>/                     classification
changes.json   changes.md          what was changed
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from focalnet_d2.utils.atomic_write import atomic_folder

from ..checks.repeated_images import Alike
from ..folders.dataset import FolderDataset
from ..folders.layouts import LAYOUTS
from ..folders.same_classes import OPTION
from .changes import Changes
from .classification import write_classification
from .images import ImageFolder
from .instances import write_instances
from .panoptic import write_panoptic
from .repeated import repeated_to_leave_out
from .semantic import write_class_list, write_semantic
from .task import Task


def write_mended_copy(
    datasets: Sequence[FolderDataset],
    out: str | os.PathLike,
    alike: Mapping[str, Sequence[Alike]] | None = None,
    *,
    only_boxes: bool = False,
    has_channels: bool = False,
) -> Changes:
    """Writes a copy of a folder in which everything that can be mended is, and nothing that cannot.

    Images are hard links to the originals where the file system has them, so that they take no room.

    Args:
        datasets: the readings of the folder.
        out: is made; it may not exist.
        alike: images that the check has found to be the same or nearly so, by layout; what of them is there twice, or
            learned and scored, is left out.
        only_boxes: whether the copy is for boxes, so that objects without masks stay beside others as they are.
        has_channels: whether it is for the channels that the images have, which stay; else they are 8-bit colors.

    Raises:
        ValueError: see `place_of_copy`; or a part has nothing left that could be learned.
        OSError: it cannot be written.
    """
    target = place_of_copy(datasets, out)
    changes = Changes()
    with atomic_folder(target) as unfinished:
        folders: dict[Path, ImageFolder] = {}
        for dataset in datasets:
            left_out = repeated_to_leave_out(dataset, (alike or {}).get(dataset.layout, ()))
            for name in dataset.parts_on_disk():
                task = Task(dataset, name, left_out[name], changes, only_boxes, has_channels)
                _write_part(task, unfinished, folders)
        changes.write(unfinished)
    return changes


def place_of_copy(datasets: Sequence[FolderDataset], out: str | os.PathLike) -> Path:
    """Where the copy will be, absolute.

    Raises:
        ValueError: there is no data set, or `out` exists, or lies in one of them.
    """
    target = Path(os.path.abspath(out))
    if not datasets:
        raise ValueError(f"There is no data set that {out} could be a mended copy of: look at the errors first.")
    if target.exists():
        raise ValueError(f"{out} exists: name a folder for the mended copy that does not.")
    for dataset in datasets:
        if any(target.is_relative_to(root) for root in (dataset.root, os.path.realpath(dataset.root))):
            raise ValueError(f"{out} lies in the data set {dataset.root}: name a folder outside of it.")
    return target


def _write_part(task: Task, root: Path, folders: dict[Path, ImageFolder]) -> None:
    dataset, name = task.dataset, task.name
    for key, new in task.part.options.get(OPTION, ()):
        task.changes.add(task.part.annotations, f"class {key}", f"its id becomes {new}, that of the class of its name")
    kind = LAYOUTS[dataset.layout].kind
    place = root / "images" / name if kind == "semantic" else root / name
    folder = folders.setdefault(place, ImageFolder(place, task.part.images, has_channels=task.has_channels))
    if kind == "instances":
        write_instances(task, folder, root / "annotations" / f"instances_{name}.json")
    elif kind == "panoptic":
        write_panoptic(task, folder, root / "annotations" / f"panoptic_{name}.json")
    elif kind == "semantic":
        write_semantic(task, folder, root / "labels" / name)
        write_class_list(dataset, root / "classes.json")
    else:
        write_classification(task, folder)

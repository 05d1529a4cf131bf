"""A mended classification set: the images of each class in its folder."""

from ..folders.dataset import FolderDataset, image_name
from ..folders.layouts import LAYOUTS
from .changes import Changes
from .images import ImageFolder


def write_classification(dataset: FolderDataset, name: str, folder: ImageFolder, changes: Changes) -> None:
    """Writes the images of a part, below the folders of their classes.

    Raises:
        ValueError: no image is left.
    """
    part, written = dataset.parts[name], 0
    for one in LAYOUTS[dataset.layout].read(part, changes.fault):
        key = image_name(one.file_name, part)
        try:
            placed = folder.place(one.file_name)
        except (ValueError, OSError) as error:
            changes.add(part.annotations, key, f"image left out: {error}")
            continue
        if placed.what:
            changes.add(part.annotations, key, placed.what)
        written += 1
    if not written:
        raise ValueError(f"{part.annotations} cannot be mended: no image that can be read is left.")

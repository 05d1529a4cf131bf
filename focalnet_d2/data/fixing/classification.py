"""A mended classification set: the images of each class in its folder."""

from ..folders.dataset import image_name
from ..folders.layouts import LAYOUTS
from .images import ImageFolder
from .task import Task


def write_classification(task: Task, folder: ImageFolder) -> None:
    """Writes the images of a part, below the folders of their classes.

    Raises:
        ValueError: no image is left.
    """
    part, changes, written = task.part, task.changes, 0
    for one in LAYOUTS[task.dataset.layout].read(part, changes.fault):
        key = image_name(one.file_name, part)
        try:
            if key in task.left_out:
                raise ValueError(task.left_out[key])
            placed = folder.place(one.file_name)
        except (ValueError, OSError) as error:
            changes.add(part.annotations, key, f"image left out: {error}")
            continue
        if placed.what:
            changes.add(part.annotations, key, placed.what)
        written += 1
    if not written:
        raise ValueError(f"{part.annotations} cannot be mended: no image that can be read is left.")

"""Label PNGs that are missing, cannot be read, or have another size than their image."""

from collections.abc import Callable

import numpy as np

from ..label_maps import label_size_problem
from .objects import of_image
from .tasks import LabelFindings, LabelTask


def read_labels(task: LabelTask, read: Callable[[str], np.ndarray], findings: LabelFindings) -> np.ndarray | None:
    """The (H, W) labels of an image; None, and a fault, where there are none of its size.

    Args:
        read: gives the labels of a file, or raises FileNotFoundError or ValueError with a sentence.
    """
    try:
        labels = read(task.label_file)
    except FileNotFoundError as error:
        findings.faults.append(of_image(task, "label-missing", "error", f"{error} Add it, or remove its image."))
        return None
    except ValueError as error:
        findings.faults.append(of_image(task, "label-unreadable", "error", str(error)))
        return None
    if task.size is None:
        return labels
    problem = label_size_problem(labels.shape, task.size, label_file=task.label_file, image_file=task.image_file)
    if problem:
        findings.faults.append(of_image(task, "label-size", "error", problem))
        return None
    return labels

"""Maps with a class or a segment id for every pixel: whether one fits its image, and how it moves along."""

import numpy as np
from detectron2.data import transforms as T


def check_label_size(labels: np.ndarray, file_size: tuple[int, int], *, label_file: str, image_file: str) -> None:
    """Raises ValueError unless a label map (H, W) has the (h, w) of its image."""
    if problem := label_size_problem(labels.shape, file_size, label_file=label_file, image_file=image_file):
        raise ValueError(problem)


def label_size_problem(size: tuple[int, ...], file_size: tuple[int, int], *, label_file: str, image_file: str) -> str:
    """What is wrong with labels of another size (height, width) than the (h, w) of their image; "" for good ones."""
    if size == tuple(file_size):
        return ""
    return (
        f"The label file {label_file} has {size[1]} x {size[0]} pixels, its image {image_file} {file_size[1]} x "
        f"{file_size[0]}: take the two of one version, or make the labels anew."
    )


def transform_labels(transforms: T.Transform, labels: np.ndarray) -> np.ndarray:
    """Labels after the transforms of their image; a pixel takes the label of the nearest one.

    The four bytes of a wide number travel as the channels of an 8-bit image, because Detectron2 resizes those on the
    pixel grid of the image, wider numbers with PyTorch's `nearest`, which is up to half a pixel off.

    Args:
        labels: (H, W) integers.

    Returns:
        (H', W'), uint8 if the labels were, else int32. Padding with 0 gives label 0; with 255 it gives 255 in uint8
        and -1 in int32.
    """
    if labels.dtype == np.uint8:
        return transforms.apply_segmentation(labels)
    numbers = np.ascontiguousarray(labels, "<i4")
    moved = transforms.apply_segmentation(numbers.view(np.uint8).reshape(*numbers.shape, 4))  # (H', W', 4)
    return np.ascontiguousarray(moved).view("<i4")[..., 0].astype(np.int32, copy=False)

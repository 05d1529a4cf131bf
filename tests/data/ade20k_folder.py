"""Two small images in the layout of ADE20K as downloaded, written by hand."""

from pathlib import Path

import numpy as np
from PIL import Image

WALL, BUILDING, BED, CABINET = 0, 1, 7, 10  # the things bed and cabinet are instance classes 1 and 3
LABELS = np.array(  # 1-based
    [
        [1, 1, 1, 2, 2, 0],
        [1, 1, 1, 2, 2, 0],
        [1, 8, 8, 2, 2, 2],
        [1, 8, 8, 8, 2, 2],
    ],
    np.uint8,
)
INSTANCES = np.array(  # 5, the cabinet, covers the building and a corner of the wall; the bed at (3, 3) is in none
    [
        [5, 0, 0, 5, 5, 0],
        [0, 0, 0, 5, 5, 0],
        [0, 1, 1, 5, 5, 5],
        [0, 1, 1, 0, 5, 5],
    ],
    np.uint8,
)
INSTANCE_CLASSES = {0: 0, 1: 1, 5: 3}


def write_image(root: Path, name: str, labels: np.ndarray, instances: np.ndarray | None, classes: dict) -> None:
    """One image of the training split with its labels and, unless None, its instances."""
    folder = root / "ADEChallengeData2016"
    pixels = {"images": np.zeros((*labels.shape, 3), np.uint8), "annotations": labels}
    if instances is not None:
        red = np.vectorize(classes.get)(instances)
        pixels["annotations_instance"] = np.stack([red, instances, np.zeros_like(red)], -1).astype(np.uint8)
    for kind, values in pixels.items():
        path = folder / kind / "training" / f"{name}.{'jpg' if kind == 'images' else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)


def write_ade20k(root: Path) -> Path:
    """Image "a" as above, "b" without instances and of another size; returns the folder ADEChallengeData2016."""
    write_image(root, "a", LABELS, INSTANCES, INSTANCE_CLASSES)
    write_image(root, "b", LABELS[:, :3], np.zeros_like(LABELS[:, :3]), {0: 0})
    return root / "ADEChallengeData2016"

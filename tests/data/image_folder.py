"""Small image folders with one colour for every class."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

COLORS = np.array([[220, 30, 30], [30, 200, 40], [40, 60, 230], [230, 220, 40], [200, 60, 210], [40, 210, 210]])


def make_image_folder(root: Path, classes: Mapping[str, int], size: tuple[int, int] = (40, 48)) -> Path:
    """`root`/<class>/<number>.png: so many images of each class, (height, width) pixels; noise over the colour."""
    rng = np.random.RandomState(0)
    for index, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = COLORS[index % len(COLORS)] + rng.randint(-25, 26, (*size, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{number}.png")
    return root

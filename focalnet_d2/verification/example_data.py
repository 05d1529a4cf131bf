"""Data sets that recipes are verified on: a few drawn images with the labels of every task, below one folder."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from focalnet_d2.data.generated import STYLES, Scene, draw_scene, generate_dataset, get_style
from focalnet_d2.data.generated.writer import MANIFEST, SplitWriter
from focalnet_d2.utils.atomic_write import write_atomically

from .small_form import SIDES

LABELLED, PAIRED, CLASSES = "generated", "pair", "classes"  # folders
IMAGES = 4  # of a part
_OBJECTS = 5  # at least, of the image that comes with its mirror image


def write_examples(root: Path) -> None:
    """Write all data sets.

    `generated` is one of `focalnet-d2 generate`, `classes` has a folder of images for each style. `pair` has one image
    and its mirror image: both have as many objects and pixels of everything, so that it does not matter whether a loss
    is a mean over the images of one process or of all.
    """
    generate_dataset(root / LABELLED, num_train=IMAGES, num_val=IMAGES, image_size=SIDES)
    _write_pair(root / PAIRED)
    for part, style in itertools.product(("train", "val"), STYLES):
        folder = root / CLASSES / part / style
        folder.mkdir(parents=True)
        for number in range(2):
            scene = draw_scene(np.random.default_rng([number, len(part)]), *SIDES, get_style(style))
            Image.fromarray(scene.image).save(folder / f"{number}.png")


def _write_pair(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    style, side = get_style("day"), SIDES[0]
    draws = (draw_scene(np.random.default_rng(seed), side, side, style) for seed in itertools.count())
    scene = next(one for one in draws if _clear_objects(one) >= _OBJECTS)
    for part in ("train", "val"):
        writer = SplitWriter(root, part, style.classes)
        writer.add(scene)
        writer.add(_mirrored(scene))
        writer.finish()
    write_atomically(root / MANIFEST, json.dumps({"classes": list(style.classes)}))


def _clear_objects(scene: Scene) -> int:
    """Objects that are large enough to be seen; none where there is a crowd."""
    pixels = np.bincount(scene.labels.ravel(), minlength=2)[1:]
    return 0 if any(one.is_crowd for one in scene.segments) else int((pixels >= 64).sum())


def _mirrored(scene: Scene) -> Scene:
    flipped = {name: np.ascontiguousarray(getattr(scene, name)[:, ::-1]) for name in ("image", "stuff", "labels")}
    return replace(scene, **flipped)

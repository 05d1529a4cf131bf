"""A batch as large as the training of a recipe can meet, made by the recipe's own mapper."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from detectron2.structures import BoxMode
from omegaconf import DictConfig
from PIL import Image

from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.data.loader import seeded
from focalnet_d2.engine.recipe_filling import class_counts, mapper_class, uses_of

LANDSCAPE, PORTRAIT = (360, 640), (640, 360)  # 16:9, which fills the longest and the shortest side that recipes allow
DRAWS = 24  # of the augmentations, of which the largest image is taken

Mapper = Callable[[dict], dict]


def largest_batch(recipe: DictConfig, images: int, objects: int, records: Sequence[dict] | None = None) -> list[dict]:
    """Samples of the recipe's mapper, the largest of several draws of its augmentations.

    Args:
        images: of the batch.
        objects: of each image that is drawn for it.
        records: dataset dicts to choose from, those of the recipe's data; without them, a landscape and a portrait
            picture are drawn, in turn.

    Raises:
        RecipeError: the mapper of the recipe is not one of this library, and there are no records.
    """
    mapper = build(recipe.dataloader.train.mapper, "dataloader.train.mapper")
    with TemporaryDirectory() as folder:
        chosen = _drawn_records(recipe, Path(folder), objects) if records is None else _extreme_records(records)
        samples = [_largest(mapper, record) for record in chosen]
    samples.sort(key=_area, reverse=True)
    tallest, widest = (max(samples, key=lambda one: one["image"].shape[axis]) for axis in (-2, -1))
    return list(itertools.islice(itertools.cycle([tallest, widest, *samples]), images))


def _largest(mapper: Mapper, record: dict) -> dict:
    """The largest of several draws of one image."""
    samples = []
    for draw in range(DRAWS):
        with seeded(draw):
            samples.append(mapper(record))
    return max(samples, key=lambda sample: (_area(sample), _objects(sample)))


def _area(sample: dict) -> int:
    return int(np.prod(sample["image"].shape[-2:]))


def _objects(sample: dict) -> int:
    return len(sample["instances"]) if "instances" in sample else 0


def _extreme_records(records: Sequence[dict]) -> list[dict]:
    """Those with the most objects, and the widest and the tallest."""
    places = range(len(records))
    known = [records[place] for place in places[:: max(1, len(places) // 2000)]]
    shape = [one.get("width", 1) / one.get("height", 1) for one in known]
    number = [len(one.get("annotations", one.get("segments_info", ()))) for one in known]
    order = [int(np.argmax(shape)), int(np.argmin(shape)), *np.argsort(number)[::-1][:6].tolist()]
    return [known[place] for place in dict.fromkeys(order)]


def _drawn_records(recipe: DictConfig, folder: Path, objects: int) -> list[dict]:
    uses = uses_of(mapper_class(recipe))
    if not uses:
        raise RecipeError("The mapper of this recipe is not one of this library: name its data by data=DIR.")
    classes = max(class_counts(recipe, linked=True).values(), default=1)
    return [_drawn_record(folder, uses[0].kind, size, objects, classes) for size in (LANDSCAPE, PORTRAIT)]


def _drawn_record(folder: Path, kind: str, size: tuple[int, int], objects: int, classes: int) -> dict[str, Any]:
    """A dataset dict of a gray image with rectangles in a grid, and its files."""
    height, width = size
    name = f"{height}x{width}"
    Image.fromarray(np.full((height, width, 3), 127, np.uint8)).save(folder / f"{name}.png")
    record = {"file_name": str(folder / f"{name}.png"), "image_id": name, "height": height, "width": width}
    boxes = _grid(size, objects)
    numbers = np.zeros(size, np.uint8)  # of the object that covers a pixel, from 1
    for number, (x0, y0, x1, y1) in enumerate(boxes, 1):
        numbers[y0:y1, x0:x1] = number
    labels = [number % classes for number in range(len(boxes))]
    if kind == "classification":
        return record | {"class_id": 0}
    if kind == "semantic":
        Image.fromarray(np.array([0, *labels], np.uint8)[numbers]).save(folder / f"{name}_labels.png")
        return record | {"sem_seg_file_name": str(folder / f"{name}_labels.png")}
    if kind == "panoptic":
        Image.fromarray(np.stack([numbers, *[np.zeros_like(numbers)] * 2], -1)).save(folder / f"{name}_segments.png")
        segments = [{"id": i, "category_id": label, "iscrowd": 0} for i, label in enumerate(labels, 1)]
        return record | {"pan_seg_file_name": str(folder / f"{name}_segments.png"), "segments_info": segments}
    annotations = [_annotation(box, label) for box, label in zip(boxes, labels, strict=True)]
    return record | {"annotations": annotations}


def _annotation(box: tuple[int, int, int, int], label: int) -> dict[str, Any]:
    x0, y0, x1, y1 = map(float, box)
    outline = [x0, y0, x1, y0, x1, y1, x0, y1]
    return {"bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS, "category_id": label, "segmentation": [outline]}


def _grid(size: tuple[int, int], objects: int) -> list[tuple[int, int, int, int]]:
    """Boxes (x0, y0, x1, y1) that do not touch."""
    side = int(np.ceil(np.sqrt(objects)))
    tall, wide = size[0] // side, size[1] // side
    places = itertools.islice(itertools.product(range(side), repeat=2), objects)
    return [(x * wide, y * tall, x * wide + wide - 2, y * tall + tall - 2) for y, x in places]

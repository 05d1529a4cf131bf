"""From the command to the first batch of a big set of boxes, and how both grow with the set, beside `load_coco_json`.

The file is made here in COCO's layout, with boxes alone as Objects365 has them: images, annotations in any order of the
images, categories last. The images are links to a few photo-like ones. Every turn is a process of its own, which has
imported all that either side needs; seconds are its CPU time, and bytes its peak memory above what it had then.

The reference is `load_coco_json` alone, up to its list of dicts. The library goes on from there: the images are looked
for, those without objects left out, classes counted, and the training loader gives its first batch. On the first start
the library also writes its cache, on the second it reads it. Above `reference_images` the reference is that of a file
of so many images, multiplied: `extrapolated_from` says so.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
from detectron2.data.datasets import load_coco_json

from benchmarks.builders.data_loading import make_record
from benchmarks.measuring import in_new_process, peak_memory, restart_peak_memory
from benchmarks.work import Facts, Processes
from focalnet_d2.data.catalog import get_detection_dataset_dicts
from focalnet_d2.data.datasets import register_coco_folder
from focalnet_d2.data.loader import build_train_loader
from focalnet_d2.data.mappers import DetectionMapper
from focalnet_d2.data.transforms import detr_800

OBJECTS = 14  # of an image; Objects365 has 14.6
CLASSES = 365
SIZE = (480, 640)
BATCH = 16
FORMS = ("first start", "second start")
GOALS = {"seconds": 5.0, "bytes": 0.125}  # of the first start: times as fast, share of the memory
_LINKS = 20_000  # of one image file; file systems limit them
_AT_ONCE = 20_000  # objects


@cache
def made_folder() -> tempfile.TemporaryDirectory:
    """Holds the files and the caches until the process ends."""
    return tempfile.TemporaryDirectory()


@cache
def made_set(images: int) -> Path:
    """A folder with `boxes.json` and `images/`."""
    folder = Path(made_folder().name, str(images))
    (folder / "images").mkdir(parents=True)
    with open(folder / "boxes.json", "w", encoding="utf-8") as file:
        for part in file_parts(images):
            file.write(part)
    for number in range(images):
        if number % _LINKS == 0:
            original = make_record(folder, number, SIZE)["file_name"]
        os.link(original, folder / "images" / image_name(number + 1))
    return folder


def image_name(number: int) -> str:
    """File of an image by its id."""
    return f"{number:012d}.jpg"


def file_parts(images: int) -> Iterator[str]:
    """The text of the file."""
    height, width = SIZE
    rng = np.random.default_rng(0)
    names = [
        {"id": number, "file_name": image_name(number), "height": height, "width": width}
        for number in range(1, images + 1)
    ]
    yield f'{{"images": {json.dumps(names)}, "annotations": ['
    owners = rng.permutation(np.repeat(np.arange(1, images + 1), OBJECTS))
    for first in range(0, len(owners), _AT_ONCE):
        yield ", " * (first > 0) + made_objects(rng, first + 1, owners[first : first + _AT_ONCE])
    categories = [{"id": number, "name": f"class {number}"} for number in range(1, CLASSES + 1)]
    yield f'], "categories": {json.dumps(categories)}}}'


def made_objects(rng: np.random.Generator, first_id: int, owners: np.ndarray) -> str:
    """The text of annotations of images with these (N,) ids: boxes with two digits after the point."""
    height, width = SIZE
    shares = rng.random((len(owners), 4))
    boxes = (shares * (width / 2, height / 2, width / 2 - 2, height / 2 - 2) + (0, 0, 1, 1)).round(2)
    areas = (boxes[:, 2] * boxes[:, 3]).round(4)
    classes = rng.integers(1, CLASSES + 1, len(owners))
    ids = range(first_id, first_id + len(owners))
    return ", ".join(
        f'{{"id": {number}, "image_id": {owner}, "category_id": {label}, "iscrowd": 0, "area": {area}, "bbox": {box}}}'
        for number, owner, label, area, box in zip(
            ids, owners.tolist(), classes.tolist(), areas.tolist(), boxes.tolist(), strict=True
        )
    )


def build(*, images: int, reference_images: int) -> Facts:
    """Both ways to the data."""
    return Facts(partial(measure, images, reference_images))


def measure(images: int, reference_images: int) -> Iterator[dict]:
    """A row of CPU time and one of memory, of the same processes in two rounds, there and back."""
    folder, caches = made_set(images), made_folder().name
    fewer = min(images, reference_images)
    calls: dict[str, tuple] = {"reference": (read_reference, str(made_set(fewer)), images / fewer)}
    calls |= {f"library, {form}": (first_batch, form, str(folder), caches) for form in FORMS}
    in_new_process(first_batch, FORMS[1], str(folder), caches)  # leaves the cache of the second start
    [row] = Processes(calls).measure(rounds=2)
    size = round((folder / "boxes.json").stat().st_size / 1e6)
    title = f"a COCO file of {images} images and {OBJECTS * images} boxes"
    for what, name in (("seconds", "first batch"), ("bytes", "first batch, peak memory")):
        kept = ("seconds", "range_s", "ratio", "ratio_range") if what == "seconds" else ("bytes", "share")
        forms = {form: {key: found[key] for key in kept if key in found} for form, found in row["forms"].items()}
        extrapolated = {"extrapolated_from": fewer} if fewer < images else {}
        yield {
            "case": f"{title}, {name}",
            "file_mb": size,
            **extrapolated,
            "forms": forms,
            "goal": {f"library, {FORMS[0]}": GOALS[what]},
        }


def read_reference(folder: str, factor: float) -> dict[str, float]:
    """CPU seconds and bytes of Detectron2's reading, times a factor, in this process."""
    restart_peak_memory()
    before, start = peak_memory(), time.process_time()
    records = load_coco_json(str(Path(folder, "boxes.json")), str(Path(folder, "images")), "benchmark")
    seconds, size = time.process_time() - start, max(peak_memory() - before, 1)
    return {"seconds": factor * seconds, "bytes": int(factor * size), "records": int(factor * len(records))}


def first_batch(form: str, folder: str, caches: str) -> dict[str, float]:
    """CPU seconds and bytes from the file to the first batch of the training loader, in this process."""
    with tempfile.TemporaryDirectory(dir=caches) as empty:
        os.environ["XDG_CACHE_HOME"] = empty if form == FORMS[0] else str(Path(caches, "cache"))
        mapper = DetectionMapper(True, augmentations=[detr_800()])
        register_coco_folder("benchmark", Path(folder, "boxes.json"), Path(folder, "images"))
        restart_peak_memory()
        before, start = peak_memory(), time.process_time()
        records = get_detection_dataset_dicts("benchmark", filter_empty=True)
        loader = build_train_loader(records, mapper=mapper, total_batch_size=BATCH, num_workers=0)
        batch = next(iter(loader))
        return {
            "seconds": time.process_time() - start,
            "bytes": max(peak_memory() - before, 1),
            "records": len(records),
            "batch": len(batch),
        }

"""From a big COCO file to the records that the workers of a run share, beside Detectron2's `load_coco_json`.

The file is made here, in COCO's layout: images, annotations in any order of the images, categories last. Every turn is
a process of its own, which has imported all that either side needs; seconds are its CPU time, and bytes its peak memory
above what it had then. `load_coco_json` leaves a list of dicts, the library a block that workers and ranks share. On
the first start the library also writes its cache, on the second it reads it; `no cache` is with the cache off.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data.datasets import load_coco_json

from benchmarks.measuring import in_new_process, peak_memory, restart_peak_memory
from benchmarks.work import Facts, Processes
from focalnet_d2.data.datasets.instances import load_instances
from focalnet_d2.data.packed.cache import SWITCH
from focalnet_d2.data.shared_memory_dataset import SharedMemoryDataset

OBJECTS = 7  # of an image, each one polygon
CLASSES = 80
SIZE = (480, 640)
FORMS = {"library, first start": "first", "library, second start": "second", "library, no cache": "off"}
GOALS = {"seconds": 3.0, "bytes": 0.25}  # of the first start: times as fast, share of the memory


@cache
def made_folder() -> tempfile.TemporaryDirectory:
    """Holds the file and the caches until the process ends."""
    return tempfile.TemporaryDirectory()


@cache
def made_file(images: int) -> Path:
    """A file of so many images."""
    path = Path(made_folder().name, f"{images}.json")
    with open(path, "w", encoding="utf-8") as file:
        for part in file_parts(images):
            file.write(part)
    return path


def file_parts(images: int) -> Iterator[str]:
    """The text of the file."""
    height, width = SIZE
    rng = np.random.default_rng(0)
    names = [{"id": number, "file_name": f"{number:012d}.jpg", "height": height, "width": width,
              "coco_url": f"http://images.example.org/{number:012d}.jpg", "license": 1, "flickr_url": "",
              "date_captured": "2013-11-14 11:18:45"} for number in range(1, images + 1)]  # fmt: skip
    yield f'{{"info": {{"year": 2017}}, "licenses": [], "images": {json.dumps(names)}, "annotations": ['
    owners = rng.permutation(np.repeat(np.arange(1, images + 1), OBJECTS)).tolist()
    for number, owner in enumerate(owners, 1):
        yield f"{', ' if number > 1 else ''}{json.dumps(made_object(rng, number, owner))}"
    categories = [{"id": number, "name": f"class {number}"} for number in range(1, CLASSES + 1)]
    yield f'], "categories": {json.dumps(categories)}}}'


def made_object(rng: np.random.Generator, number: int, owner: int) -> dict[str, Any]:
    """An annotation with a polygon of 8 to 39 corners, two digits after the point."""
    corners = rng.random(2) * (440, 280) + rng.random((int(rng.integers(8, 40)), 2)) * 200
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    box = np.array([left, top, right - left, bottom - top]).round(2).tolist()
    return {"segmentation": [corners.round(2).ravel().tolist()], "area": round(box[2] * box[3] / 2, 4), "iscrowd": 0,
            "image_id": owner, "bbox": box, "category_id": int(rng.integers(1, CLASSES + 1)), "id": number}  # fmt: skip


def build(*, images: int) -> Facts:
    """Both ways to read the file."""
    return Facts(partial(measure, images))


def measure(images: int) -> Iterator[dict]:
    """A row of CPU time and one of memory, of the same processes in two rounds, there and back."""
    path, folder = made_file(images), made_folder().name
    calls: dict[str, tuple] = {"reference": (read, "reference", str(path), folder)}
    calls |= {name: (read, how, str(path), folder) for name, how in FORMS.items()}
    in_new_process(read, "second", str(path), folder)  # leaves the cache of the second start
    [row] = Processes(calls).measure(rounds=2)
    title = f"a COCO file of {images} images and {OBJECTS * images} polygons"
    for what, name in (("seconds", "reading"), ("bytes", "reading, peak memory")):
        kept = ("seconds", "range_s", "ratio", "ratio_range") if what == "seconds" else ("bytes", "share")
        forms = {form: {key: found[key] for key in kept if key in found} for form, found in row["forms"].items()}
        yield {"case": f"{title}, {name}", "forms": forms, "goal": {"library, first start": GOALS[what]}}


def read(how: str, path: str, folder: str) -> dict[str, float]:
    """CPU seconds and bytes of one way to read the file, in this process."""
    os.environ[SWITCH] = str(int(how != "off"))
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        os.environ["XDG_CACHE_HOME"] = empty if how == "first" else str(Path(folder, "cache"))
        restart_peak_memory()
        before, start = peak_memory(), time.process_time()
        if how == "reference":
            records = load_coco_json(path, "images", "benchmark")
        else:
            records = SharedMemoryDataset(load_instances(path, "images", "benchmark"))
        return {
            "seconds": time.process_time() - start,
            "bytes": max(peak_memory() - before, 1),
            "records": len(records),
        }

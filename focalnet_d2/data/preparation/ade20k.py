"""Makes the files that training and evaluation on ADE20K need from the ones that are downloaded.

    annotations_detectron2/{training,validation}/*.png   classes 0 to 149, 255 unlabelled
    ade20k_panoptic_{train,val}{.json,/*.png}            COCO's panoptic format
    ade20k_instance_{train,val}.json                     COCO's instances format

Differs from the published preparation, which draws the panoptic ids at random and leaves areas and boxes of stuff as
they were before the things were pasted over it: ids here are class + 1 + 256 * instance, and areas, boxes and the list
of segments describe the final pixels. `published_areas` gives the published areas, boxes and segments.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import find_objects

from focalnet_d2.utils.atomic_write import remove_unfinished, write_atomically

from ..annotations.run_lengths import compressed_rle
from ..datasets.ade20k_classes import ADE20K_CLASSES, ADE20K_THING_IDS, ade20k_categories
from ..panoptic_png import write_panoptic_ids
from .ade20k_sources import SPLITS, Source, find_sources, read_instances, read_semantic
from .files import GRAY, RGB, PngHeader, image_size, is_complete_png, write_png
from .jobs import Journal, fill_folder, run_jobs

FOLDER = "ADEChallengeData2016"
TASKS = ("semantic", "panoptic", "instance")
_JOURNAL = ".journal"
_MADE_BY = "FocalNet-D2, preparation of ADE20K, format 1"
# Panoptic id of every value of a label file: that value for stuff, 0 for things and what is unlabelled.
_STUFF_IDS = np.zeros(256, np.int32)
_STUFF_IDS[1 : len(ADE20K_CLASSES) + 1] = [0 if c["isthing"] else c["id"] + 1 for c in ade20k_categories()]

logger = logging.getLogger(__name__)


def prepare_ade20k(
    root: str | Path,
    *,
    splits: Sequence[str] = tuple(SPLITS),
    tasks: Sequence[str] = TASKS,
    workers: int = 1,
    published_areas: bool = False,
) -> None:
    """Makes what is missing; continues where a killed run stopped, and leaves finished files alone.

    Args:
        root: folder of the data sets, with `ADEChallengeData2016` in it.
        splits: of "train", "val".
        tasks: of "semantic", "panoptic", "instance".
        workers: processes.
        published_areas: areas, boxes and segments in the panoptic file as the published preparation has them.

    Raises:
        FileNotFoundError: a folder or file is missing; then nothing has been written.
        ValueError: an unknown task, or a file that cannot be used, named in the message; the next run continues there.
        RuntimeError: a worker died.
    """
    if unknown := [task for task in tasks if task not in TASKS]:
        raise ValueError(f"There is no task {unknown[0]!r} of ADE20K: take some of {', '.join(TASKS)}.")
    folder = Path(root) / FOLDER
    sources = {split: find_sources(folder, split, needs_instances=set(tasks) != {"semantic"}) for split in splits}
    makers: dict[str, Callable] = {
        "semantic": prepare_semantic,
        "panoptic": partial(prepare_panoptic, published_areas=published_areas),
        "instance": prepare_instances,
    }
    for split, found in sources.items():
        for task in tasks:
            makers[task](folder, split, found, workers=workers)


def prepare_semantic(folder: Path, split: str, sources: Sequence[Source], *, workers: int) -> None:
    """Makes `annotations_detectron2/<split>`."""
    fill_folder(
        folder / "annotations_detectron2" / SPLITS[split],
        make_semantic,
        {source.labels.name: source for source in sources},
        {source.labels.name: PngHeader(*image_size(source.image), 8, GRAY) for source in sources},
        workers=workers,
    )


def make_semantic(job: tuple[Source, Path]) -> None:
    """Writes the label file of one image: class k as k - 1, and 0 as 255."""
    source, target = job
    write_png(target, read_semantic(source) - np.uint8(1))


def prepare_panoptic(
    folder: Path, split: str, sources: Sequence[Source], *, workers: int, published_areas: bool
) -> None:
    """Makes `ade20k_panoptic_<split>`, ids as colours, and then its JSON."""
    pngs = folder / f"ade20k_panoptic_{split}"
    json_file = pngs.with_suffix(".json")
    settings = {"made_by": _MADE_BY, "published_areas": published_areas}
    if is_done(json_file, settings, sources, pngs):
        return
    pngs.mkdir(exist_ok=True)
    jobs = {source.name: (source, pngs, published_areas) for source in sources}
    results = _run_journalled(make_panoptic, jobs, json_file, settings, workers=workers, pngs=pngs)
    remove_unfinished(pngs)
    annotations = [
        {"image_id": name, "file_name": f"{name}.png", "segments_info": result["segments_info"]}
        for name, result in results.items()
    ]
    _write_json(json_file, settings, results, annotations, ade20k_categories())


def make_panoptic(job: tuple[Source, Path, bool]) -> dict[str, Any]:
    """Writes the panoptic PNG of one image; returns its size (height, width) and segments."""
    source, pngs, published_areas = job
    stuff = _STUFF_IDS[read_semantic(source)]  # (H, W)
    numbers, classes = read_instances(source)
    id_of_number = np.zeros(256, np.int32)
    for number, category in classes.items():
        id_of_number[number] = category + 1 + 256 * number
    things = id_of_number[numbers]  # (H, W)
    ids = np.where(things > 0, things, stuff)
    regions = {**measure(stuff), **measure(things)} if published_areas else measure(ids)
    segments = [
        {"id": i, "category_id": i % 256 - 1, "iscrowd": 0, **regions[i]}
        for i in sorted(regions, key=lambda i: divmod(i, 256))  # stuff by class, then things by number
    ]
    write_panoptic_ids(ids, pngs / source.labels.name)
    return {"size": list(ids.shape), "segments_info": segments}


def measure(labels: np.ndarray) -> dict[int, dict[str, Any]]:
    """Area and box (XYWH, pixels) of every number above 0 in a (H, W) map of numbers below 65536."""
    areas = np.bincount(labels.ravel())
    present = np.flatnonzero(areas[1:]) + 1
    positions = np.zeros(len(areas), np.int32)
    positions[present] = np.arange(1, len(present) + 1)
    return {
        int(number): {
            "area": int(areas[number]),
            "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
        }
        for number, (rows, columns) in zip(present, find_objects(positions[labels]))
    }


def prepare_instances(folder: Path, split: str, sources: Sequence[Source], *, workers: int) -> None:
    """Makes `ade20k_instance_<split>.json`."""
    json_file = folder / f"ade20k_instance_{split}.json"
    settings = {"made_by": _MADE_BY}
    if is_done(json_file, settings, sources):
        return
    jobs = {source.name: source for source in sources}
    results = _run_journalled(make_instances, jobs, json_file, settings, workers=workers)
    found = [{"image_id": name, **instance} for name, result in results.items() for instance in result["instances"]]
    annotations = [{"id": number, **instance} for number, instance in enumerate(found, start=1)]
    things = [{"id": i, "name": ADE20K_CLASSES[i]} for i in ADE20K_THING_IDS]
    _write_json(json_file, settings, results, annotations, things)


def make_instances(source: Source) -> dict[str, Any]:
    """Size (height, width) of one image and its instances, masks as compressed run lengths."""
    numbers, classes = read_instances(source)
    regions = measure(numbers)
    instances = [
        {"category_id": category, "iscrowd": 0, **regions[number], "segmentation": compressed_rle(numbers == number)}
        for number, category in classes.items()
    ]
    return {"size": list(numbers.shape), "instances": instances}


def is_done(json_file: Path, settings: Mapping[str, Any], sources: Sequence[Source], pngs: Path | None = None) -> bool:
    """Whether a JSON was made with these settings from all sources, and its PNGs are there.

    What another tool has made is left alone as long as it is complete.

    Raises:
        ValueError: the file is no JSON, or is of another tool and not complete.
    """
    if not json_file.is_file():
        return False
    try:
        content = json.loads(json_file.read_bytes())
        images = {image["id"] for image in content["images"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"The file {json_file} is damaged ({error}): remove it to make it again.") from error
    names = {source.name for source in sources}
    present = names if pngs is None else {path.stem for path in pngs.glob("*.png")}
    is_complete = images == names <= present
    info = content.get("info", {})
    if info.get("made_by") == _MADE_BY:
        if not is_complete or info != settings:
            return False
        logger.info("%s is complete (%d images): nothing to do.", json_file, len(images))
        return True
    if not is_complete:
        raise ValueError(
            f"The file {json_file} was made by another tool and does not fit the images of the split: remove it"
            f"{f' and the folder {pngs}' if pngs else ''} to make them again."
        )
    logger.info("%s was made by another tool and stays as it is; remove it to make it again.", json_file)
    return True


def _run_journalled(
    function: Callable,
    jobs: Mapping[str, Any],
    json_file: Path,
    settings: Mapping[str, Any],
    *,
    workers: int,
    pngs: Path | None = None,
) -> dict[str, Any]:
    """Results of all jobs, in their order; those that a killed run has left in its journal are not done again."""
    journal = Journal(json_file.with_suffix(_JOURNAL), settings)

    def is_left(name: str) -> bool:
        if name not in journal.results:
            return True
        height, width = journal.results[name]["size"]
        return pngs is not None and not is_complete_png(pngs / f"{name}.png", PngHeader(width, height, 8, RGB))

    names = [name for name in jobs if is_left(name)]
    results = run_jobs(function, [jobs[name] for name in names], workers=workers, description=json_file.stem)
    for name, result in zip(names, results, strict=True):
        journal.add(name, result)
    logger.info("%s: %d images done, %d were done before.", json_file, len(names), len(jobs) - len(names))
    return {name: journal.results[name] for name in jobs}


def _write_json(
    json_file: Path,
    settings: Mapping[str, Any],
    results: Mapping[str, Any],
    annotations: Sequence[dict],
    categories: Sequence[dict],
) -> None:
    """Writes the file, and then removes the journal that it came from."""
    images = [
        {"id": name, "file_name": f"{name}.jpg", "height": result["size"][0], "width": result["size"][1]}
        for name, result in results.items()
    ]
    content = {"info": settings, "images": images, "annotations": annotations, "categories": categories}
    write_atomically(json_file, json.dumps(content))
    json_file.with_suffix(_JOURNAL).unlink()

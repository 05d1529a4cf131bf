"""Checks of the registered data sets: the folder that holds them, and which are really in it."""

import os
from pathlib import Path

from .check import FALLBACK, OK, Check

_PATHS = "image_root image_dir dirname json_file gt_dir panoptic_json panoptic_root sem_seg_root"
PATH_KEYS = tuple(_PATHS.split())


def check_datasets() -> list[Check]:
    """The folder of the data sets, and which of the registered ones are really in it."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from focalnet_d2.data.datasets import datasets_root

    root = datasets_root()
    where = f"{root}" if "DETECTRON2_DATASETS" in os.environ else f"not set, so ./{root}"
    fix = "export DETECTRON2_DATASETS=FOLDER, the one that holds coco/; the demo makes its own data"
    if not root.is_dir():
        return [Check("DETECTRON2_DATASETS", FALLBACK, f"{where}: no such folder, no data set is found", fix)]
    catalog = {name: dataset_paths(MetadataCatalog.get(name).as_dict()) for name in DatasetCatalog.list()}
    checks = [Check("DETECTRON2_DATASETS", OK, where), data_on_disk(catalog, fix)]
    return checks + incomplete_datasets(catalog)


def dataset_paths(metadata: dict[str, object]) -> list[Path]:
    """Files and folders that a data set's metadata name, images first."""
    return [Path(str(metadata[key])) for key in PATH_KEYS if metadata.get(key)]


def data_on_disk(catalog: dict[str, list[Path]], fix: str) -> Check:
    """The registered data sets whose files are all there."""
    names = sorted(name for name, paths in catalog.items() if paths and all(path.exists() for path in paths))
    if not names:
        return Check("data sets", FALLBACK, f"none of the {len(catalog)} registered ones is on disk", fix)
    return Check("data sets", OK, f"{len(names)} of {len(catalog)} registered ones: {', '.join(names)}")


def incomplete_datasets(catalog: dict[str, list[Path]]) -> list[Check]:
    """Data sets with their annotations on disk and their images not: a path that somebody mistyped."""
    checks = []
    for name, (images, *annotations) in sorted((name, paths) for name, paths in catalog.items() if len(paths) > 1):
        if not images.exists() and all(path.exists() for path in annotations):
            fix = f"put the images into {images}, or correct the path"
            checks.append(Check(name, FALLBACK, f"annotations are there, images are not: {images}", fix))
    return checks

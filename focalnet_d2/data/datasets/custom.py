"""Data sets in the COCO layout that Detectron2 does not know: registered by name, read only when they are
used.

    <root>/annotations/instances_train.json  instances_val.json
    <root>/train/  <root>/val/               images
"""

import os
from functools import partial
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json

FOLDERS = ("balloon", "nuclei", "generated")


def datasets_root() -> Path:
    """The folder of all data sets: $DETECTRON2_DATASETS, else `datasets` in the working directory."""
    return Path(os.path.expanduser(os.environ.get("DETECTRON2_DATASETS", "datasets")))


def register_coco_folder(
    name: str,
    root_or_json: str | Path,
    image_root: str | Path | None = None,
    *,
    metadata: dict | None = None,
) -> str:
    """Registers boxes and masks in COCO's instances format. Reads nothing; a repeated name is replaced.

    Args:
        name: name for `DatasetCatalog`.
        root_or_json: an instances JSON, or a folder in the layout above; then the last part of the name after
            "_" chooses the split.
        image_root: folder of the images; needed with a JSON, else `<root>/<split>`.
        metadata: more entries for `MetadataCatalog`, for example `thing_classes`.

    Returns:
        name.

    Raises:
        ValueError: a JSON without an image_root.
    """
    path = Path(root_or_json)
    if path.suffix == ".json":
        if image_root is None:
            raise ValueError(f"Registering {path} as {name!r} needs image_root, the folder of its images.")
        json_file = path
    else:
        split = name.rpartition("_")[2]
        json_file = path / "annotations" / f"instances_{split}.json"
        image_root = image_root if image_root is not None else path / split
    replace_dataset(
        name,
        partial(load_coco_json, str(json_file), str(image_root), name),
        json_file=str(json_file),
        image_root=str(image_root),
        evaluator_type="coco",
        **(metadata or {}),
    )
    return name


def replace_dataset(name: str, loader, **metadata) -> None:
    """Registers a loader and fresh metadata under a name, dropping what was registered there before."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
    if name in MetadataCatalog.list():
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, loader)
    MetadataCatalog.get(name).set(**metadata)


def register_custom() -> None:
    """Registers `<folder>_train` and `<folder>_val` of the known small sets below the data folder."""
    for folder in FOLDERS:
        for split in ("train", "val"):
            register_coco_folder(f"{folder}_{split}", datasets_root() / folder)

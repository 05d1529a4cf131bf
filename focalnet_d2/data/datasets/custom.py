"""Data sets in the COCO layout that Detectron2 does not know: registered by name, read only when they are
used.

    <root>/annotations/instances_{train,val}.json   panoptic_{train,val}.json
    <root>/{train,val}/                             images
    <root>/panoptic_{train,val}/                    PNGs of segment ids
    <root>/semantic_{train,val}/                    PNGs of contiguous classes, if there are any
"""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from .instances import load_instances
from .panoptic import load_panoptic, panoptic_metadata

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
        partial(load_instances, str(json_file), str(image_root), name),
        json_file=str(json_file),
        image_root=str(image_root),
        evaluator_type="coco",
        **(metadata or {}),
    )
    return name


def register_panoptic_folder(
    name: str,
    panoptic_json: str | Path,
    panoptic_root: str | Path,
    image_root: str | Path,
    *,
    instances_json: str | Path | None = None,
    sem_seg_root: str | Path | None = None,
    categories: Iterable[dict] | None = None,
    evaluator_type: str = "coco_panoptic_seg",
) -> str:
    """Registers segments in COCO's panoptic format. Reads nothing; a repeated name is replaced.

    Args:
        name: name for `DatasetCatalog`.
        panoptic_json: segments and categories; category ids may have gaps.
        panoptic_root: folder of the PNGs, segment id = R + 256 G + 65536 B, 0 = unlabelled.
        image_root: folder of the images.
        instances_json: boxes and masks of the things in COCO's instances format, for AP.
        sem_seg_root: folder of PNGs with the contiguous class of every pixel, 255 = unlabelled; they are used if
            the folder exists.
        categories: id, name, isthing and, if known, color in the order of the contiguous ids; then the metadata
            are complete at once. Default: those of the JSON when it is read, things by id, then stuff by id.
        evaluator_type: Detectron2's name of the evaluation.

    Returns:
        name.
    """
    needed = {"panoptic_json": panoptic_json, "panoptic_root": panoptic_root, "image_root": image_root}
    optional = {"json_file": instances_json, "sem_seg_root": sem_seg_root}
    paths = {key: str(path) for key, path in {**needed, **optional}.items() if path is not None}
    read = {key: path for key, path in paths.items() if key != "json_file"}
    metadata = {} if categories is None else panoptic_metadata(categories)
    replace_dataset(name, partial(load_panoptic, name, **read), evaluator_type=evaluator_type, **paths, **metadata)
    return name


def register_panoptic_split(name: str, root: Path, split: str, *, categories: Iterable[dict] | None = None) -> str:
    """Registers the panoptic labels of one split of a folder in the layout above."""
    annotations = root / "annotations"
    return register_panoptic_folder(
        name,
        annotations / f"panoptic_{split}.json",
        root / f"panoptic_{split}",
        root / split,
        instances_json=annotations / f"instances_{split}.json",
        sem_seg_root=root / f"semantic_{split}",
        categories=categories,
    )


def replace_dataset(name: str, loader, **metadata) -> None:
    """Registers a loader and fresh metadata under a name, dropping what was registered there before."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
    if name in MetadataCatalog.list():
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, loader)
    MetadataCatalog.get(name).set(**metadata)


def register_custom() -> None:
    """Registers `<folder>_{train,val}` and `<folder>_{train,val}_panoptic` of the known small sets."""
    for folder in FOLDERS:
        for split in ("train", "val"):
            name = register_coco_folder(f"{folder}_{split}", datasets_root() / folder)
            register_panoptic_split(f"{name}_panoptic", datasets_root() / folder, split)

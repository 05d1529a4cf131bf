"""ADE20K's scene parsing benchmark: semantic and panoptic labels of 150 classes, instances of the 100 things.

Below $DETECTRON2_DATASETS/ADEChallengeData2016; `tools/prepare_ade20k.py` makes all but the images:

    images/{training,validation}/*.jpg
    annotations_detectron2/{training,validation}/*.png   semantic: 0 to 149, 255 unlabelled
    ade20k_panoptic_{train,val}{.json,/*.png}            COCO's panoptic format
    ade20k_instance_{train,val}.json                     COCO's instances format

Category ids are the classes 0 to 149 everywhere; in the instance sets the contiguous ids are 0 to 99, in their order.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ..annotations.ids import Id
from ..annotations.instances import read_instances
from ..class_map import class_map
from ..class_metadata import class_metadata
from ..instance_dicts import dataset_dicts
from .ade20k_classes import ADE20K_CLASSES, ADE20K_THING_IDS, ade20k_categories
from .custom import datasets_root, register_panoptic_folder, replace_dataset

FOLDERS = {"train": "training", "val": "validation"}


def register_ade20k() -> None:
    """Registers `ade20k_sem_seg_*`, `ade20k_panoptic_*` and `ade20k_instance_*`, each train and val; reads nothing.

    The semantic names are Detectron2's, which gives no image ids and skips images without labels.
    """
    root = datasets_root() / "ADEChallengeData2016"
    for split, folder in FOLDERS.items():
        image_root = root / "images" / folder
        sem_seg_root = root / "annotations_detectron2" / folder
        instances_json = root / f"ade20k_instance_{split}.json"
        register_semantic(f"ade20k_sem_seg_{split}", image_root, sem_seg_root)
        register_panoptic_folder(
            f"ade20k_panoptic_{split}",
            root / f"ade20k_panoptic_{split}.json",
            root / f"ade20k_panoptic_{split}",
            image_root,
            instances_json=instances_json,
            sem_seg_root=sem_seg_root,
            categories=ade20k_categories(),
            evaluator_type="ade20k_panoptic_seg",
        )
        register_instances(f"ade20k_instance_{split}", instances_json, image_root)


def register_semantic(name: str, image_root: Path, sem_seg_root: Path) -> None:
    """Registers one semantic set."""
    replace_dataset(
        name,
        partial(load_semantic, str(image_root), str(sem_seg_root)),
        image_root=str(image_root),
        sem_seg_root=str(sem_seg_root),
        evaluator_type="sem_seg",
        **class_metadata(class_map(range(len(ADE20K_CLASSES)), ADE20K_CLASSES, things=False), "semantic"),
    )


def load_semantic(image_root: str, sem_seg_root: str) -> list[dict]:
    """Dataset dicts with file_name, image_id (name without suffix) and sem_seg_file_name, in the order of the ids.

    Raises:
        FileNotFoundError: there are no images, or one is without labels or the other way round.
    """
    images = {path.stem: path for path in Path(image_root).glob("[!.]*.jpg")}
    labels = {path.stem: path for path in Path(sem_seg_root).glob("[!.]*.png")}
    if alone := sorted(images.keys() ^ labels.keys()):
        raise FileNotFoundError(
            f"{len(alone)} of the images in {image_root} and the labels in {sem_seg_root} have no partner, "
            f"{alone[0]} for one: run tools/prepare_ade20k.py, or complete the images."
        )
    if not images:
        raise FileNotFoundError(f"There are no images (*.jpg) in {image_root} and no labels (*.png) in {sem_seg_root}.")
    return [
        {"file_name": str(images[stem]), "image_id": stem, "sem_seg_file_name": str(labels[stem])}
        for stem in sorted(images)
    ]


def register_instances(name: str, json_file: Path, image_root: Path) -> None:
    """Registers one set of instances."""
    classes = class_map(ADE20K_THING_IDS, [ADE20K_CLASSES[category] for category in ADE20K_THING_IDS])
    replace_dataset(
        name,
        partial(load_ade20k_instances, str(json_file), str(image_root), classes.contiguous),
        json_file=str(json_file),
        image_root=str(image_root),
        evaluator_type="coco",
        **class_metadata(classes, "instances"),
    )


def load_ade20k_instances(json_file: str, image_root: str, contiguous: Mapping[Id, int]) -> list[dict]:
    """Dataset dicts in COCO's instances format; class names are those registered, whatever the file calls them.

    Raises:
        ValueError: a category that is no thing.
    """
    content = read_instances(json_file)
    for entry in content.annotations or ():
        if entry["category_id"] not in contiguous:
            raise ValueError(f"{json_file} has the category id {entry['category_id']}, which is no thing of ADE20K.")
    return dataset_dicts(content, image_root, contiguous)

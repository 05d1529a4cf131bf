"""Objects365 v2: 365 classes, ids 1 to 365; class names come from the annotation files.

objects365/annotations/zhiyuan_objv2_{train,val}.json
objects365/{train,val}/patch*/*.jpg
"""

import os
from functools import partial

from ..record_choice import Records, choose, file_names, with_paths
from .custom import datasets_root, replace_dataset
from .instances import load_instances

NUM_CLASSES = 365
BROKEN_IMAGES = frozenset(  # absent or damaged in the published archives
    {
        "patch16/objects365_v2_00908726.jpg",
        "patch6/objects365_v1_00320532.jpg",
        "patch6/objects365_v1_00320534.jpg",
    }
)


def load_objects365(json_file: str, image_root: str, name: str) -> Records:
    """Dataset dicts of one split.

    Of the published file names ("images/v1/patch3/...") only the last folder and the file count.
    """
    records = with_paths(load_instances(json_file, image_root, name), lambda file: _path(image_root, file))
    broken = {_path(image_root, file) for file in BROKEN_IMAGES}
    files = file_names(records)
    if broken.isdisjoint(files):
        return records
    return choose(records, [place for place, file in enumerate(files) if file not in broken])


def _path(image_root: str, file_name: str) -> str:
    name = file_name.removeprefix(f"{image_root}{os.sep}")  # which dataset dicts have, and packed ones not
    return os.path.join(image_root, *name.split("/")[-2:])


def register_objects365() -> None:
    """Registers `objects365_v2_train` and `objects365_v2_val`; reads nothing."""
    root = datasets_root() / "objects365"
    for split in ("train", "val"):
        name = f"objects365_v2_{split}"
        json_file, image_root = str(root / "annotations" / f"zhiyuan_objv2_{split}.json"), str(root / split)
        replace_dataset(
            name,
            partial(load_objects365, json_file, image_root, name),
            json_file=json_file,
            image_root=image_root,
            evaluator_type="coco",
            num_classes=NUM_CLASSES,
            thing_dataset_id_to_contiguous_id={i + 1: i for i in range(NUM_CLASSES)},
        )

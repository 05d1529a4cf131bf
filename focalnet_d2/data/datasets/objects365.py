"""Objects365 v2: 365 classes, ids 1 to 365; class names come from the annotation files.

objects365/annotations/zhiyuan_objv2_{train,val}.json
objects365/{train,val}/patch*/*.jpg
"""

from functools import partial
from pathlib import Path, PurePosixPath

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


def load_objects365(json_file: str, image_root: str, name: str) -> list[dict]:
    """Dataset dicts of one split.

    Of the published file names ("images/v1/patch3/...") only the last folder and the file count.
    """
    kept = []
    for record in load_instances(json_file, image_root, name):
        short_name = "/".join(PurePosixPath(record["file_name"]).parts[-2:])
        if short_name not in BROKEN_IMAGES:
            kept.append({**record, "file_name": str(Path(image_root) / short_name)})
    return kept


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

"""COCO 2017 with panoptic labels: 133 classes, 80 things (contiguous 0 to 79), then 53 kinds of stuff.

    coco/{train,val}2017/                    images
    coco/annotations/panoptic_{train,val}2017.json  instances_{train,val}2017.json
    coco/panoptic_{train,val}2017/           PNGs of segment ids
    coco/panoptic_semseg_{train,val}2017/    semantic PNGs, used where they exist (tools/prepare_coco_semantic.py)

The names of Detectron2 are registered again: its own have no height and width, take the 53 kinds of stuff alone for
the classes of semantic segmentation, and lie where $DETECTRON2_DATASETS pointed when Detectron2 was imported.
"""

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from .custom import datasets_root, register_panoptic_folder


def register_coco() -> None:
    """Registers `coco_2017_{train,val}_panoptic`, and the same with `_with_sem_seg`, as other projects say for a set
    whose semantic labels are scored; reads nothing.
    """
    root = datasets_root() / "coco"
    for split in ("train", "val"):
        for name in (f"coco_2017_{split}_panoptic", f"coco_2017_{split}_panoptic_with_sem_seg"):
            register_panoptic_folder(
                name,
                root / "annotations" / f"panoptic_{split}2017.json",
                root / f"panoptic_{split}2017",
                root / f"{split}2017",
                instances_json=root / "annotations" / f"instances_{split}2017.json",
                sem_seg_root=root / f"panoptic_semseg_{split}2017",
                categories=COCO_CATEGORIES,
            )

"""Registers every data set by name on import; reads no file.

COCO's boxes and masks (`coco_2017_train`, `coco_2017_val`, `coco_2017_test-dev`) come with Detectron2. Ours:
`coco_2017_*_panoptic`, `coco_2017_*_panoptic_with_sem_seg`, `ade20k_sem_seg_*`, `ade20k_panoptic_*`,
`ade20k_instance_*`, `objects365_v2_*`, `imagenet_*`, `image_folder_*`, and `balloon_*`, `nuclei_*`, `generated_*`, also
with `_panoptic`; each with `train` and `val`. All lie below $DETECTRON2_DATASETS.

Data sets of your own are registered by `register_folder`, which looks what a folder holds, or by one of
`register_instances`, `register_panoptic_folder`, `register_semantic_folder` and `register_image_folder`.
"""

import detectron2.data.datasets  # noqa: F401  registers COCO

from .ade20k import register_ade20k
from .ade20k_classes import ADE20K_CLASSES, ADE20K_THING_IDS
from .coco import register_coco
from .custom import datasets_root, register_coco_folder, register_custom, register_panoptic_folder
from .folders import register_folder, register_instances, register_semantic_folder
from .imagenet import register_image_folder, register_image_folders
from .objects365 import register_objects365

register_coco()
register_ade20k()
register_custom()
register_objects365()
register_image_folders()

__all__ = [
    "ADE20K_CLASSES",
    "ADE20K_THING_IDS",
    "datasets_root",
    "register_coco_folder",
    "register_folder",
    "register_image_folder",
    "register_instances",
    "register_panoptic_folder",
    "register_semantic_folder",
]

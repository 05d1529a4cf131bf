"""Registers every data set by name on import; reads no file.

COCO (`coco_2017_train`, `coco_2017_val`, `coco_2017_test-dev`) comes with Detectron2. Ours:
`objects365_v2_*`, `balloon_*`, `nuclei_*`, `generated_*`, each with `train` and `val`. All lie below
$DETECTRON2_DATASETS.
"""

import detectron2.data.datasets  # noqa: F401  registers COCO

from .custom import datasets_root, register_coco_folder, register_custom
from .objects365 import register_objects365

register_custom()
register_objects365()

__all__ = ["datasets_root", "register_coco_folder"]

"""Makes, once, the files that a data set needs besides those that are downloaded."""

from .ade20k import TASKS as ADE20K_TASKS
from .ade20k import prepare_ade20k
from .coco import prepare_coco_semantic

__all__ = ["ADE20K_TASKS", "prepare_ade20k", "prepare_coco_semantic"]

"""Makes, once, the files that a data set needs besides those that are downloaded."""

from .ade20k import prepare_ade20k
from .coco import prepare_coco_semantic

__all__ = ["prepare_ade20k", "prepare_coco_semantic"]

"""The layouts that a folder can have, by the name that `data.layout` takes."""

from dataclasses import replace

from . import class_folders, coco, coco_panoptic, cvat, labelme, semantic, voc, yolo
from .layout import Layout
from .same_classes import translated

_MODULES = (coco, coco_panoptic, yolo, voc, cvat, labelme, semantic, class_folders)

LAYOUTS: dict[str, Layout] = {
    module.LAYOUT.name: replace(module.LAYOUT, read=translated(module.LAYOUT.read)) for module in _MODULES
}

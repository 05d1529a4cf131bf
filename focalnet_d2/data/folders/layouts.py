"""The layouts that a folder can have, by the name that `data.layout` takes."""

from . import class_folders, coco, coco_panoptic, cvat, labelme, semantic, voc, yolo
from .layout import Layout

_MODULES = (coco, coco_panoptic, yolo, voc, cvat, labelme, semantic, class_folders)

LAYOUTS: dict[str, Layout] = {module.LAYOUT.name: module.LAYOUT for module in _MODULES}

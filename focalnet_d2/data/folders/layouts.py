"""The layouts that a folder can have, by the name that `data.layout` takes."""

from . import class_folders, coco, coco_panoptic, semantic
from .layout import Layout

LAYOUTS: dict[str, Layout] = {
    layout.name: layout for layout in (coco.LAYOUT, coco_panoptic.LAYOUT, semantic.LAYOUT, class_folders.LAYOUT)
}

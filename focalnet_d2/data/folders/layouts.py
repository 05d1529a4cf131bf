"""The layouts that a folder can have, by the name that `data.layout` takes."""

from . import coco, coco_panoptic
from .layout import Layout

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (coco.LAYOUT, coco_panoptic.LAYOUT)}

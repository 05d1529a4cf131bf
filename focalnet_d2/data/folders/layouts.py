"""The layouts that a folder can have, by the name that `data.layout` takes."""

from .layout import Layout

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in ()}

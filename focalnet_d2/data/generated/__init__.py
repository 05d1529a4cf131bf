"""A data set that is drawn on the spot: things on textured stuff, with every kind of label."""

from .registration import register_generated
from .scene import Scene, Segment, draw_scene
from .shapes import SHAPES
from .styles import STUFF, STYLES, Style, get_style
from .writer import generate_dataset, read_manifest

__all__ = [
    "SHAPES",
    "STUFF",
    "STYLES",
    "Scene",
    "Segment",
    "Style",
    "draw_scene",
    "generate_dataset",
    "get_style",
    "read_manifest",
    "register_generated",
]

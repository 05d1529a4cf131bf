"""The files of one image's results, each of which appears complete or not at all; numpy and Pillow only."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.utils.atomic_write import atomic_open, write_atomically

from .panoptic_png import write_panoptic_ids
from .result_documents import Results, coco_document, has_pixel_ids, panoptic_document, semantic_ids


def save_results(results: Results, folder: Path, name: str | None) -> list[Path]:
    """Write `NAME.json`, and `NAME.panoptic.png`, `.panoptic.json` and `NAME.semantic.png` where there are such maps.

    Where ids of classes are no values of pixels, there is no semantic PNG, and a warning says so.

    Args:
        folder: is made.
        name: by default that of the image's file; may have folders.

    Raises:
        ValueError: no name for an image without a file.
    """
    start = start_of_names(results.path, folder, name)
    written = []
    if results.panoptic_map is not None:
        png = with_ending(start, ".panoptic.png")
        document = panoptic_document(results)
        document["annotations"][0]["file_name"] = png.name
        write_panoptic_ids(results.panoptic_map, png)
        written += [png, save_json(document, with_ending(start, ".panoptic.json"))]
    if results.semantic_map is not None and has_pixel_ids(results.classes):
        written.append(save_png(semantic_ids(results), with_ending(start, ".semantic.png")))
    return [*written, save_json(coco_document(results), with_ending(start, ".json"))]


def start_of_names(path: Path | None, folder: Path, name: str | None) -> Path:
    """What the paths of an image's files begin with.

    Raises:
        ValueError: neither the image has a file nor is there a name.
    """
    if name is None and path is None:
        raise ValueError("This prediction is of no file: give a name for the files to save, save(folder, name).")
    return folder / (name or Path(path or "").name)


def with_ending(start: Path, ending: str) -> Path:
    """The path with more at its end."""
    return start.with_name(start.name + ending)


def save_png(values: np.ndarray, path: Path) -> Path:
    """Write (H, W) uint8 or uint16, or (H, W, 3) uint8, as a PNG."""
    with atomic_open(path, sync=False) as file:
        Image.fromarray(values).save(file, format="PNG")
    return path


def save_json(content: Any, path: Path) -> Path:
    """Write plain values as JSON."""
    write_atomically(path, as_json(content))
    return path


def as_json(content: Any) -> bytes:
    """Plain values as JSON in UTF-8; bytes of a file's name that are no UTF-8 are escaped, as Python reads them."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")

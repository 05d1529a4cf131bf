"""The files of one prediction, each of which appears complete or not at all.

Of a GeoTIFF there are also `START.geojson` with outlines of the objects, and `START.panoptic.tif` and
`START.semantic.tif` with the same numbers as the PNGs. They say where on the earth they lie (`georeference.py`).
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from focalnet_d2.data.panoptic_labels import write_panoptic_ids
from focalnet_d2.utils.atomic_write import atomic_open, write_atomically

from .georeference import Georeference, read_georeference, save_map, save_outlines

if TYPE_CHECKING:  # prediction.py imports this module
    from .prediction import Prediction


def save_prediction(prediction: "Prediction", folder: Path, name: str | None, *, picture: bool) -> list[Path]:
    """See `Prediction.save`."""
    if name is None and prediction.path is None:
        raise ValueError("This prediction is of no file: give a name for the files to save, save(folder, name).")
    start = folder / (name or Path(prediction.path or "").name)
    written = []
    if prediction.panoptic_map is not None:
        written += save_panoptic(prediction, start)
    if prediction.semantic_map is not None:
        written += save_semantic(prediction, start)
    if picture:
        written += save_picture(prediction, start)
    return [*written, *save_objects(prediction, start)]


def save_objects(prediction: "Prediction", start: Path) -> list[Path]:
    """Write `START.json`, objects and class scores in COCO's format."""
    written = []
    if prediction.boxes is not None and (georeference := _georeference(prediction)):
        written.append(save_outlines(prediction, _with_ending(start, ".geojson"), georeference))
    return [*written, _save_json(prediction.to_coco(), _with_ending(start, ".json"))]


def save_panoptic(prediction: "Prediction", start: Path) -> list[Path]:
    """Write `START.panoptic.png` and `START.panoptic.json`."""
    document, ids = prediction.to_panoptic()
    png = _with_ending(start, ".panoptic.png")
    document["annotations"][0]["file_name"] = png.name
    write_panoptic_ids(ids, png)
    return [
        png,
        *_save_geotiff(prediction, ids, _with_ending(start, ".panoptic.tif")),
        _save_json(document, _with_ending(start, ".panoptic.json")),
    ]


def save_semantic(prediction: "Prediction", start: Path) -> list[Path]:
    """Write `START.semantic.png`, the ids of the data set of every pixel."""
    ids = _semantic_ids(prediction)
    geotiff = _save_geotiff(prediction, ids, _with_ending(start, ".semantic.tif"))
    return [*geotiff, _save_png(Image.fromarray(ids), _with_ending(start, ".semantic.png"))]


def save_picture(prediction: "Prediction", start: Path) -> list[Path]:
    """Write `START.picture.png`."""
    return [_save_png(Image.fromarray(prediction.plot()), _with_ending(start, ".picture.png"))]


def _with_ending(start: Path, ending: str) -> Path:
    return start.with_name(start.name + ending)


def _georeference(prediction: "Prediction") -> Georeference | None:
    return None if prediction.path is None else read_georeference(prediction.path)


def _save_geotiff(prediction: "Prediction", labels: np.ndarray, path: Path) -> list[Path]:
    georeference = _georeference(prediction)
    return [] if georeference is None else [save_map(labels, path, georeference)]


def _semantic_ids(prediction: "Prediction") -> np.ndarray:
    """(H, W) ids of the data set, uint8 or uint16.

    Raises:
        ValueError: an id is no value of a pixel.
    """
    ids = [entry.dataset_id for entry in prediction.classes.classes]
    if wrong := [key for key in ids if not isinstance(key, int) or not 0 <= key < 2**16]:
        raise ValueError(f"The class id {wrong[0]!r} is no value of a pixel (0 to 65535): no semantic PNG can hold it.")
    return np.array(ids, np.uint8 if all(int(key) < 256 for key in ids) else np.uint16)[prediction.semantic_map]


def _save_png(image: Image.Image, path: Path) -> Path:
    with atomic_open(path, sync=False) as file:
        image.save(file, format="PNG")
    return path


def _save_json(content: Any, path: Path) -> Path:
    write_atomically(path, json.dumps(content, ensure_ascii=False))
    return path

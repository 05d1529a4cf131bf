"""The files of one prediction, each of which appears complete or not at all.

Of a GeoTIFF there are also `START.geojson` with outlines of the objects, and `START.panoptic.tif` and
`START.semantic.tif` with the same numbers as the PNGs. They say where on the earth they lie (`georeference.py`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from focalnet_d2.data.panoptic_png import write_panoptic_ids
from focalnet_d2.data.result_documents import has_pixel_ids, semantic_ids
from focalnet_d2.data.result_files import save_json, save_png, start_of_names, with_ending

from .georeference import Georeference, read_georeference, save_map, save_outlines

if TYPE_CHECKING:  # prediction.py imports this module
    from .prediction import Prediction


def save_prediction(prediction: "Prediction", folder: Path, name: str | None, *, picture: bool) -> list[Path]:
    """See `Prediction.save`."""
    start = start_of_names(prediction.path, folder, name)
    written = []
    if prediction.panoptic_map is not None:
        written += save_panoptic(prediction, start)
    if prediction.semantic_map is not None and has_pixel_ids(prediction.classes):
        written += save_semantic(prediction, start)
    if picture:
        written += save_picture(prediction, start)
    return [*written, *save_objects(prediction, start)]


def save_objects(prediction: "Prediction", start: Path) -> list[Path]:
    """Write `START.json`, objects and class scores in COCO's format."""
    written = []
    if prediction.boxes is not None and (georeference := _georeference(prediction)):
        written += save_outlines(prediction, with_ending(start, ".geojson"), georeference)
    return [*written, save_json(prediction.to_coco(), with_ending(start, ".json"))]


def save_panoptic(prediction: "Prediction", start: Path) -> list[Path]:
    """Write `START.panoptic.png` and `START.panoptic.json`."""
    document, ids = prediction.to_panoptic()
    png = with_ending(start, ".panoptic.png")
    document["annotations"][0]["file_name"] = png.name
    write_panoptic_ids(ids, png)
    return [
        png,
        *_save_geotiff(prediction, ids, with_ending(start, ".panoptic.tif")),
        save_json(document, with_ending(start, ".panoptic.json")),
    ]


def save_semantic(prediction: "Prediction", start: Path) -> list[Path]:
    """Write `START.semantic.png`, the ids of the data set of every pixel."""
    ids = semantic_ids(prediction)
    geotiff = _save_geotiff(prediction, ids, with_ending(start, ".semantic.tif"))
    return [*geotiff, save_png(ids, with_ending(start, ".semantic.png"))]


def save_picture(prediction: "Prediction", start: Path) -> list[Path]:
    """Write `START.picture.png`."""
    return [save_png(prediction.plot(), with_ending(start, ".picture.png"))]


def _georeference(prediction: "Prediction") -> Georeference | None:
    return None if prediction.path is None else read_georeference(prediction.path)


def _save_geotiff(prediction: "Prediction", labels: np.ndarray, path: Path) -> list[Path]:
    georeference = _georeference(prediction)
    return [] if georeference is None else [save_map(labels, path, georeference)]

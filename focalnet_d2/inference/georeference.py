"""Where the pixels of a GeoTIFF lie on the earth, kept in what is written about it, through rasterio."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from PIL import Image

from focalnet_d2.data.image_reading import READ_ERRORS
from focalnet_d2.data.result_files import save_json
from focalnet_d2.data.shards.files import open_file
from focalnet_d2.structures.cropped_masks import CroppedMask, crop_mask
from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.warnings_once import warn_once

if TYPE_CHECKING:  # prediction_files.py imports this module
    from .prediction import Prediction

SUFFIXES = (".tif", ".tiff")
_GEO_KEYS = 34735  # TIFF's tag of the directory that says the coordinate system
_LONGITUDE_LATITUDE = "EPSG:4326"  # of GeoJSON (RFC 7946)


class Georeference(NamedTuple):
    """Where an image lies.

    Attributes:
        crs: its coordinate system as well-known text.
        transform: (a, b, c, d, e, f) with x = a column + b row + c and y = d column + e row + f.
    """

    crs: str
    transform: tuple[float, ...]

    def place(self, column: float, row: float) -> tuple[float, float]:
        """x and y of a corner between pixels, 0 and 0 for that of the first one."""
        a, b, c, d, e, f = self.transform
        return a * column + b * row + c, d * column + e * row + f


def read_georeference(path: Path) -> Georeference | None:
    """That of a GeoTIFF; None of any other file, and, with a warning, where rasterio is missing or cannot read it."""
    if path.suffix.lower() not in SUFFIXES or not _has_geo_keys(path):
        return None
    try:
        import rasterio  # optional: the extra geo
        from rasterio.errors import RasterioError
    except ImportError:
        warn_once(
            logging.getLogger(__name__),
            "rasterio",
            f"{path} says where it lies on the earth; to keep that, and that of other such files, install rasterio: "
            "pip install 'focalnet-d2[geo]'",
        )
        return None
    try:
        with rasterio.open(path) as source:
            return None if source.crs is None else Georeference(source.crs.to_wkt(), tuple(source.transform)[:6])
    except (RasterioError, ValueError) as error:
        _log_loss(path, error)
        return None


def _has_geo_keys(path: Path) -> bool:
    try:
        with open_file(str(path)) as file, Image.open(file) as image:
            return _GEO_KEYS in getattr(image, "tag_v2", {})
    except READ_ERRORS:
        return False


def save_map(labels: np.ndarray, path: Path, georeference: Georeference) -> Path:
    """Write (H, W) whole numbers as a GeoTIFF of one band, complete or not at all."""
    from rasterio.io import MemoryFile  # optional: the extra geo
    from rasterio.transform import Affine

    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=labels.shape[0], width=labels.shape[1], count=1, dtype=labels.dtype,
            crs=georeference.crs, transform=Affine(*georeference.transform), compress="deflate", tiled=True,
        ) as target:  # fmt: skip
            target.write(labels, 1)
        write_atomically(path, memory.read())
    return path


def save_outlines(prediction: "Prediction", path: Path, georeference: Georeference) -> list[Path]:
    """Write the objects as GeoJSON, in longitude and latitude: outlines of masks, else boxes.

    Returns:
        The file; none, with a warning, where the image lies in a system of its own, or not on the earth.
    """
    try:
        places = [
            _on_earth(_outline(prediction, index, georeference), georeference.crs)
            for index in range(len(prediction.boxes))
        ]
    except ValueError as error:
        _log_loss(prediction.path or path, error)
        return []
    objects = zip(prediction.category_ids, prediction.names, prediction.scores, places, strict=True)
    features = [
        {
            "type": "Feature",
            "properties": {"category_id": category, "name": name, "score": float(score)},
            "geometry": place,
        }
        for category, name, score, place in objects
    ]
    return [save_json({"type": "FeatureCollection", "features": features}, path)]


def _on_earth(geometry: dict[str, Any], crs: str) -> dict[str, Any]:
    """A geometry in longitude and latitude.

    Raises:
        ValueError: it has none.
    """
    from rasterio._err import CPLE_BaseError  # optional: the extra geo; GDAL's errors have no public name there
    from rasterio.errors import RasterioError
    from rasterio.warp import transform_geom  # optional, too

    try:
        place = cast(dict[str, Any], transform_geom(crs, _LONGITUDE_LATITUDE, geometry))
    except (CPLE_BaseError, RasterioError) as error:
        raise ValueError("its coordinate system has no longitude and latitude") from error
    if not all(math.isfinite(number) for number in _numbers(place["coordinates"])):
        raise ValueError("its coordinates have no longitude and latitude")
    return place


def _numbers(nested: Any) -> Iterator[float]:
    if isinstance(nested, list | tuple):
        for one in nested:
            yield from _numbers(one)
    else:
        yield nested


def _log_loss(path: Path, error: Exception) -> None:
    reason = " ".join(str(error).split())
    logging.getLogger(__name__).warning("What is written of %s does not say where it lies: %s.", path, reason)


def _outline(prediction: "Prediction", index: int, georeference: Georeference) -> dict[str, Any]:
    """A polygon, or several, in the coordinates of the image's system."""
    from rasterio.features import shapes  # optional: the extra geo
    from rasterio.transform import Affine

    mask = _mask(prediction, index)
    if mask is None:
        left, top, right, bottom = prediction.boxes[index].tolist()
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        return {"type": "Polygon", "coordinates": [[georeference.place(*corner) for corner in corners]]}
    (a, b, _, d, e, _), (x, y) = georeference.transform, georeference.place(mask.left, mask.top)
    parts = shapes(mask.pixels.astype(np.uint8), mask=mask.pixels, transform=Affine(a, b, x, d, e, y))
    return {"type": "MultiPolygon", "coordinates": [part["coordinates"] for part, _ in parts]}


def _mask(prediction: "Prediction", index: int) -> CroppedMask | None:
    """The mask of an object; None where there is none, or it is empty."""
    if prediction.masks is None:
        return None
    mask = crop_mask(prediction.masks, index)
    return mask if mask.pixels.any() else None

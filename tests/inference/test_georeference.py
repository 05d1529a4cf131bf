"""GeoTIFFs: the georeference of an image is that of what is written about it."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.data.class_map import class_map
from focalnet_d2.inference.georeference import Georeference, read_georeference, save_map, save_outlines
from focalnet_d2.inference.prediction import Prediction
from focalnet_d2.utils import warnings_once

rasterio = pytest.importorskip("rasterio")
CLASSES = class_map([7], ["roof"])
TRANSFORM = (0.5, 0.0, 465000.0, 0.0, -0.5, 5248000.0)  # half a meter a pixel


def geotiff(path: Path, crs: str | None = "EPSG:32632") -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", height=40, width=60, count=3, dtype="uint8", crs=crs,
        transform=rasterio.Affine(*TRANSFORM),
    ) as file:  # fmt: skip
        file.write(np.full((3, 40, 60), 90, np.uint8))
    return path


def prediction(masks: np.ndarray | None = None) -> Prediction:
    return Prediction(
        np.zeros((40, 60, 3), np.uint8), CLASSES, boxes=np.array([[10, 20, 30, 40]], np.float32),
        scores=np.array([0.75], np.float32), class_ids=np.array([0]), masks=masks,
    )  # fmt: skip


def corners(path: Path) -> np.ndarray:
    """Least and greatest x and y, in the image's system, of a GeoJSON file with one object."""
    from rasterio.warp import transform_geom

    (feature,) = json.loads(path.read_text())["features"]
    assert feature["properties"] == {"category_id": 7, "name": "roof", "score": 0.75}
    geometry = transform_geom("EPSG:4326", "EPSG:32632", feature["geometry"])
    rings = geometry["coordinates"] if geometry["type"] == "Polygon" else [part[0] for part in geometry["coordinates"]]
    points = np.concatenate([np.asarray(ring) for ring in rings])
    return np.array([points.min(0), points.max(0)])


def test_a_map_lies_where_its_image_lies(tmp_path: Path):
    georeference = read_georeference(geotiff(tmp_path / "a.tif"))
    labels = np.arange(2400, dtype=np.int32).reshape(40, 60)
    with rasterio.open(save_map(labels, tmp_path / "out" / "map.tif", georeference)) as written:
        assert written.crs.to_epsg() == 32632
        assert tuple(written.transform)[:6] == TRANSFORM
        assert np.array_equal(written.read(1), labels)


def test_outlines_of_boxes_and_masks_lie_where_their_pixels_lie(tmp_path: Path):
    georeference = read_georeference(geotiff(tmp_path / "a.tif"))
    expected = [[465005, 5247980], [465015, 5247990]]  # columns 10 to 30, rows 20 to 40
    (boxes,) = save_outlines(prediction(), tmp_path / "boxes.geojson", georeference)
    assert np.allclose(corners(boxes), expected, atol=1e-3)
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 20:40, 10:30] = True
    (masks,) = save_outlines(prediction(mask), tmp_path / "masks.geojson", georeference)
    assert np.allclose(corners(masks), expected, atol=1e-3)


def test_files_without_a_georeference_have_none(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.tif")
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    (tmp_path / "text.tif").write_text("no image")
    assert [read_georeference(tmp_path / name) for name in ("plain.tif", "plain.png", "text.tif")] == [None] * 3


def test_without_rasterio_a_warning_says_what_is_lost(tmp_path: Path, monkeypatch, caplog):
    path = geotiff(tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.setattr(warnings_once, "_said", set())
    with caplog.at_level(logging.WARNING):
        assert [read_georeference(path) for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1
    assert "a.tif says where it lies on the earth" in caplog.text
    assert "pip install 'focalnet-d2[geo]'" in caplog.text


def test_a_georeference_is_plain(tmp_path: Path):
    georeference = read_georeference(geotiff(tmp_path / "a.tif"))
    assert isinstance(georeference, Georeference)
    assert "UTM zone 32N" in georeference.crs
    assert georeference.transform == TRANSFORM


@pytest.mark.parametrize(
    ("crs", "transform"), [('LOCAL_CS["site"]', TRANSFORM), ("EPSG:32632", (1e6, 0.0, 1e12, 0.0, -1e6, 1e12))]
)
def test_places_that_are_not_on_the_earth_have_no_outlines(tmp_path: Path, crs, transform, caplog):
    assert save_outlines(prediction(), tmp_path / "a.geojson", Georeference(crs, transform)) == []
    assert "a.geojson does not say where it lies: its coordinate" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_georeference_that_rasterio_cannot_read_is_said(tmp_path: Path, monkeypatch, caplog):
    path = geotiff(tmp_path / "a.tif")

    def refuse(path):
        raise rasterio.errors.RasterioIOError("no room")

    monkeypatch.setattr(rasterio, "open", refuse)
    assert read_georeference(path) is None
    assert "a.tif does not say where it lies: no room." in caplog.text

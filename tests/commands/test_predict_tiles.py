"""`focalnet-d2 predict --tile`: large images, with their place on the earth where they have one."""

import json

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.commands.main import main
from focalnet_d2.inference.predictor import Predictor
from focalnet_d2.inference.tiles import TileSettings
from tests.inference.checkpoints import small_recipe, write

rasterio = pytest.importorskip("rasterio")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(write(tmp_path_factory.mktemp("run") / "model_best.pth", small_recipe("mask2former")))


@pytest.fixture
def geotiff(tmp_path):
    path = tmp_path / "map.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=90, width=130, count=3, dtype="uint8", crs="EPSG:32632",
        transform=rasterio.Affine(0.5, 0, 465000, 0, -0.5, 5248000),
    ) as file:  # fmt: skip
        file.write(np.random.default_rng(0).integers(0, 256, (3, 90, 130), dtype=np.uint8))
    return path


def test_a_large_image_comes_back_whole_and_where_it_lies(checkpoint, geotiff, tmp_path):
    out = tmp_path / "out"
    command = ["predict", checkpoint, str(geotiff), "--out", str(out), "--tile", "64", "--device", "cpu"]
    assert main([*command, "--threshold", "0"]) == 0
    assert json.loads((out / "map.tif.json").read_text())["images"][0] | {"id": 1} == {
        "id": 1, "file_name": "map.tif", "height": 90, "width": 130,
    }  # fmt: skip
    for name in ("semantic", "panoptic"):
        with rasterio.open(out / f"map.tif.{name}.tif") as written:
            assert (written.height, written.width, written.crs.to_epsg()) == (90, 130, 32632)
    with rasterio.open(out / "map.tif.semantic.tif") as written:
        assert np.array_equal(written.read(1), np.asarray(Image.open(out / "map.tif.semantic.png")))
    assert json.loads((out / "map.tif.geojson").read_text())["features"]


def test_tiles_of_another_size_are_other_settings(checkpoint, geotiff, tmp_path, capsys):
    command = [
        "predict",
        checkpoint,
        str(geotiff),
        "--out",
        str(tmp_path / "out"),
        "--device",
        "cpu",
        "--json",
        "--tile",
    ]
    assert main([*command, "100"]) == 0
    assert main([*command, "90"]) == 2
    assert "with other settings" in capsys.readouterr().err


def test_tiles_that_cover_the_image_change_nothing(checkpoint):
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    whole = Predictor(checkpoint, device="cpu", threshold=0)(image)
    tiled = Predictor(checkpoint, device="cpu", threshold=0, tiles=TileSettings(128))(image)
    np.testing.assert_array_equal(tiled.boxes, whole.boxes)
    np.testing.assert_array_equal(tiled.semantic_map, whole.semantic_map)
    np.testing.assert_array_equal(tiled.panoptic_map > 0, whole.panoptic_map > 0)


def test_a_part_that_cannot_be_predicted_is_named(checkpoint, monkeypatch):
    predictor = Predictor(checkpoint, device="cpu", tiles=TileSettings(40))
    for parameter in predictor.model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        predictor(np.zeros((60, 90, 3), np.uint8))

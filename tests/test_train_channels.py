"""A folder of images with five channels of 16 bits, through it all: train, resume, evaluate, predict, export."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from focalnet_d2 import Predictor
from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.commands import evaluate, export, predict, train
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.export.runtime import ExportedModel
from focalnet_d2.inference.tiles import TileSettings
from tests.data.channel_images import noise, write_tiff
from tests.own_data_folders import SIZE, write_boxes
from tests.registered_sets import registered  # noqa: F401  autouse
from tests.tiny_run import TINY

RECIPE = "dino_focalnet_mini_quickstart"
TINY_DINO = tuple(setting for setting in TINY if not setting.startswith("model.num_classes"))
STEM = "backbone.bottom_up.patch_embed.proj.weight"


def with_channels(root: Path) -> Path:
    """The images of a COCO folder become TIFFs of five channels, whose values are about 100, 200, ... 500."""
    for file in root.rglob("*.json"):
        content = json.loads(file.read_text())
        for number, image in enumerate(content["images"]):
            old = file.parent / image["file_name"]
            image["file_name"] = f"{old.stem}.tif"
            values = noise(SIZE, SIZE, 5, seed=number) % 50 + 100 * np.arange(1, 6, dtype=np.uint16)
            write_tiff(file.parent / image["file_name"], values)
            old.unlink()
        file.write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return with_channels(write_boxes(tmp_path_factory.mktemp("channels") / "data"))


def run(folder: Path, output: Path, *settings: str) -> int:
    return train.main([str(folder), "--recipe", RECIPE, *TINY_DINO, f"train.output_dir={output}", *settings])


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory) -> Path:
    """Two iterations in one go."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert run(folder, output, "data.channels=5", "train.max_iter=2") == 0
    return output


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run_folder / "model_final.pth")["model"]


def test_what_was_found_is_in_the_recipe_of_the_run(finished):
    recipe = load_recipe(finished / "recipe.yaml")
    found = recipe.data.found_channels
    assert (found.dtype, found.stored, list(found.channels)) == ("uint16", 5, [0, 1, 2, 3, 4])
    assert np.allclose(found.mean, [124.5, 224.5, 324.5, 424.5, 524.5], atol=1)
    assert np.allclose(found.std, 14.4, atol=0.5)
    assert recipe.model.pixel_mean == found.mean
    assert recipe.model.pixel_std == found.std
    assert recipe.dataloader.test.mapper.image_format.dtype == "uint16"
    assert weights(finished)[STEM].shape[1] == 5


def test_the_pictures_of_a_training_show_three_channels_in_their_range(finished):
    assert list((finished / "samples").glob("*.jpg"))
    with Image.open(finished / "first_batch.jpg") as image:
        pixels = np.asarray(image).reshape(-1, 3)
    assert 30 < pixels.std() < 120  # neither black nor white


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(finished, folder, tmp_path):
    assert run(folder, tmp_path, "data.channels=5", "train.max_iter=1") == 0
    assert train.main([str(tmp_path), "--resume", "train.max_iter=2"]) == 0
    expected = weights(finished)
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path).items())


def test_an_evaluation_finds_what_the_training_found(finished, tmp_path):
    assert evaluate.main([str(finished), f"train.output_dir={tmp_path}"]) == 0
    for name in ("results.json", "coco_instances_results.json"):
        assert json.loads((tmp_path / name).read_text()) == json.loads((finished / name).read_text())


def test_predictor_command_and_exported_model_find_the_same(finished, folder, tmp_path):
    checkpoint, file = finished / "model_final.pth", next((folder / "val").glob("*.tif"))
    predictor = Predictor(checkpoint, device="cpu", threshold=0)
    expected = predictor(file)
    assert expected.image.shape == (SIZE, SIZE, 3)
    assert expected.image.dtype == np.uint8
    values = predictor._read_input(file).values
    for source in (values, torch.from_numpy(values.transpose(2, 0, 1).copy()), file.read_bytes()):
        assert np.array_equal(predictor(source).boxes, expected.boxes)

    assert export.main([str(checkpoint), "--out", str(tmp_path / "m.onnx"), "--size", "64x64"]) == 0
    model = ExportedModel(tmp_path / "m.onnx", threshold=0)
    for source in (file, values, file.read_bytes()):
        found = model(source)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)
    with pytest.raises(ValueError, match="has 3 channels of uint8, but 5 channels of uint16"):
        model(np.zeros((SIZE, SIZE, 3), np.uint8))

    assert predict.main([str(checkpoint), str(file), "--out", str(tmp_path / "found"), "--pictures"]) == 0
    assert list((tmp_path / "found").rglob("*.jpg")) + list((tmp_path / "found").rglob("*.png"))


def test_tiles_see_all_channels(finished, folder):
    file = next((folder / "val").glob("*.tif"))
    whole = Predictor(finished / "model_final.pth", device="cpu", threshold=0)
    tiled = Predictor(finished / "model_final.pth", device="cpu", threshold=0, tiles=TileSettings(SIZE, 0))
    assert len(tiled(file).boxes) <= len(whole(file).boxes)
    assert tiled(file).image.shape == (SIZE, SIZE, 3)


def test_images_of_another_kind_are_one_sentence(finished, tmp_path):
    predictor = Predictor(finished / "model_final.pth", device="cpu")
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has 3 channels of uint8, but 5 channels of uint16 are wanted"):
        predictor(tmp_path / "a.png")
    for channels in (3, 6):
        with pytest.raises(ValueError, match=f"has {channels} channels of uint16"):
            predictor(np.zeros((64, 64, channels), np.uint16))


def test_weights_for_colors_start_a_training_on_other_channels(folder, tmp_path, caplog, finished):
    colors = write_boxes(tmp_path / "colors", parts=("train",))
    assert run(colors, tmp_path / "first", "train.max_iter=1") == 0
    init = f"train.init_checkpoint={tmp_path / 'first' / 'model_final.pth'}"
    old = weights(tmp_path / "first")[STEM]
    assert run(folder, tmp_path / "second", "data.channels=[4,2,1,0]", "data.rgb=[2,1,0]", init, "optimizer.lr=0") == 0
    new = weights(tmp_path / "second")[STEM]
    assert torch.equal(new[:, 1:], old)
    assert not new[:, 0].any()
    log = (tmp_path / "second" / "log.txt").read_text()
    assert "of the stem, red, green and blue keep theirs as channels [1, 2, 3] of 4, the others start at zero" in log
    with pytest.raises(ValueError, match="4 input channels"):
        Predictor(tmp_path / "first" / "model_final.pth", overrides=["model.backbone.bottom_up.in_chans=4"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.channels=4"], "data.channels is 4, but the images in .* have 5 channels of uint16"),
        (["data.channels=[0,7]"], r"data.channels is \[0,7\], but .* have 5 channels"),
        (["data.channels=[1,1]"], "each once"),
        (["data.channels=0"], "data.channels is 0"),
        (["data.rgb=[0,1,2]"], "data.rgb is about channels"),
        (["data.channels=5", "data.rgb=[0,1]"], "red, green and blue among more than three"),
        (["data.channels=5", "data.mean=[1,2,3,4,5]"], "data.mean and data.std are both lists of 5 numbers"),
        (["data.channels=[0]", "data.mean=[1]", "data.std=[0]"], r"data.std is \[0\]: all of it must be above 0"),
        (["data.channels=[0]", "data.mean=[a]", "data.std=[1]"], r"data.mean is \['a'\]: it lists finite numbers"),
        (["data.channels=[0]", "data.mean=[1]", "data.std=[.nan]"], "data.std is .*: it lists finite numbers"),
    ],
)
def test_settings_that_do_not_fit_the_images_are_one_sentence(folder, tmp_path, capsys, settings, message):
    assert run(folder, tmp_path / "run", *settings) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "run" / "recipe.yaml").exists()

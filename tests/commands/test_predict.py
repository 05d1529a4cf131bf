"""`focalnet-d2 predict`: the files of every image, from where it was interrupted, whatever cannot be read."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from focalnet_d2.commands.main import main
from focalnet_d2.inference.predictor import Predictor
from tests.inference.checkpoints import small_recipe, write


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(write(tmp_path_factory.mktemp("run") / "model_best.pth", small_recipe("mask2former")))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    draws = np.random.default_rng(0)
    for name in ("a.png", "sub/a.png"):
        Image.fromarray(draws.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(folder / name)
    return folder


def files_of(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_every_image_has_its_files_and_unreadable_ones_are_listed(checkpoint, images, tmp_path, capsys):
    (images / "broken.jpg").write_text("no image")
    out = tmp_path / "out"
    assert main(["predict", checkpoint, str(images), "--out", str(out), "--device", "cpu"]) == 1
    endings = (".json", ".panoptic.json", ".panoptic.png", ".semantic.png")
    assert files_of(out) == {"predict.json", *(f"{name}{end}" for name in ("a.png", "sub/a.png") for end in endings)}
    printed = capsys.readouterr()
    assert "broken.jpg cannot be read (it is no image)" in printed.err
    assert "2 of 3 files" in printed.out
    content = json.loads((out / "sub" / "a.png.json").read_text())
    assert content["images"] == [{"id": 1, "file_name": "a.png", "height": 40, "width": 60}]


def test_it_goes_on_where_it_was_interrupted(checkpoint, images, tmp_path, monkeypatch):
    command = ["predict", checkpoint, str(images), "--out", str(tmp_path / "out"), "--json", "--device", "cpu"]
    assert main(command) == 0
    done, missing = tmp_path / "out" / "a.png.json", tmp_path / "out" / "sub" / "a.png.json"
    done.write_text("as it was")
    missing.unlink()
    asked, read = [], Predictor._read_input
    monkeypatch.setattr(Predictor, "_read_input", lambda self, path: asked.append(path) or read(self, path))
    assert main(command) == 0
    assert asked == [images / "sub" / "a.png"]
    assert done.read_text() == "as it was"
    assert missing.is_file()


@pytest.mark.parametrize("out", ["", "predictions"])
def test_results_among_the_images_are_not_predicted(out, checkpoint, images, capsys):
    """The second start finds the PNGs that the first one has written into the folder, or below it."""
    command = ["predict", checkpoint, str(images), "--out", str(images / out), "--pictures", "--device", "cpu"]
    assert main(command) == main(command) == 0
    assert capsys.readouterr().out.count("2 of 2 files are predicted") == 2
    assert len([name for name in files_of(images) if name.endswith(".picture.png")]) == 2


def test_batches_write_the_same_files(checkpoint, images, tmp_path):
    written = []
    for size in ("1", "2"):
        out = tmp_path / size
        command = ["predict", checkpoint, str(images), "--out", str(out), "--device", "cpu"]
        assert main([*command, "--batch-size", size]) == 0
        written.append(files_of(out))
    assert written[0] == written[1]
    for name in ("a.png.panoptic.png", "sub/a.png.semantic.png"):
        one, other = (np.asarray(Image.open(tmp_path / size / name)) for size in ("1", "2"))
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": ""}, "model.pth holds no recipe: name the one that its model was built with by recipe=NAME"),
        ({"model": {"weight": torch.full((2,), float("nan"))}}, "model.pth"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_one_line(changes, message, images, tmp_path, capsys):
    path = write(tmp_path / "model.pth", small_recipe("classifier"), **changes)
    assert main(["predict", str(path), str(images), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--threshold", "0.7"], "out holds predictions of another checkpoint or with other settings"),
        (["--threshold", "7"], "threshold=7.0 must be from 0 to 1"),
    ],
)
def test_results_of_other_settings_are_not_mixed(change, message, checkpoint, images, tmp_path, capsys):
    command = ["predict", checkpoint, str(images), "--out", str(tmp_path / "out"), "--pictures", "--device", "cpu"]
    assert main(command) == 0
    assert files_of(tmp_path / "out") == {"predict.json", "a.png.picture.png", "sub/a.png.picture.png"}
    assert main([*command, *change]) == 2
    assert message in capsys.readouterr().err


def test_two_images_of_one_name_are_refused_before_anything_is_loaded(images, tmp_path, capsys):
    paths = [str(images / "a.png"), str(images / "sub" / "a.png")]
    assert main(["predict", "none.pth", *paths, "--out", str(tmp_path / "out")]) == 2
    assert "would have one name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_the_model_does_not_predict_is_refused(images, tmp_path, capsys):
    path = str(write(tmp_path / "model.pth", small_recipe("dino")))
    command = ["predict", path, str(images / "a.png"), "--out", str(tmp_path / "out"), "--panoptic", "--device", "cpu"]
    assert main(command) == 2
    assert "model.pth predicts bbox only" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_of_another_image_are_never_taken_for_those_of_this_one(checkpoint, images, tmp_path, capsys):
    """Of the same name in another folder; in the same place, but newer."""
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (20, 10)).save(other / "a.png")
    command = ["predict", checkpoint, "--out", str(out), "--json", "--device", "cpu"]
    assert main([*command, str(images)]) == 0
    assert main([*command, str(other)]) == 2
    printed = capsys.readouterr().err
    assert f"{out} holds the results of {images / 'a.png'}, and those of {other / 'a.png'}" in printed
    Image.new("RGB", (20, 10)).save(images / "a.png")
    newer = (out / "a.png.json").stat().st_mtime_ns + 1
    os.utime(images / "a.png", ns=(newer, newer))
    assert main([*command, str(images)]) == 0
    assert json.loads((out / "a.png.json").read_text())["images"][0]["width"] == 20


def test_names_of_any_bytes_and_of_any_length_do_not_stop_the_others(checkpoint, tmp_path, capsys):
    folder, out, long = tmp_path / "images", tmp_path / "out", f"{'n' * 251}.png"
    folder.mkdir()
    names = ("ends.png", os.fsdecode(b"\xff.png"), long)
    for name in names:
        Image.new("RGB", (20, 10)).save(folder / name)
    assert main(["predict", checkpoint, str(folder), "--out", str(out), "--json", "--device", "cpu"]) == 1
    printed = capsys.readouterr()
    assert "2 of 3 files" in printed.out
    assert f"{long} cannot be written, since their names would be too long" in printed.err
    assert json.loads((out / f"{names[1]}.json").read_text())["images"][0]["file_name"] == names[1]


def test_results_need_a_folder(images, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert main(["predict", "none.pth", str(images), "--out", str(tmp_path / "out")]) == 2
    assert "out is a file, and the results need a folder" in capsys.readouterr().err

"""`focalnet-d2 predict`: the files of every image, from where it was interrupted, whatever cannot be read."""

import json
import os
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from focalnet_d2.commands.main import main
from focalnet_d2.config.lazy import recipe_to_yaml
from focalnet_d2.data.class_map import class_map
from focalnet_d2.export.formats import FORMATS
from focalnet_d2.inference import predictor, trained
from focalnet_d2.inference.image_files import LOCK_FILE
from focalnet_d2.inference.predictor import Predictor
from focalnet_d2.utils import warnings_once
from focalnet_d2.utils.folder_lock import folder_lock
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
    assert main(["predict", "none.pth", str(images), "--out", str(tmp_path / "out" / "below")]) == 2
    assert "out is a file, and the results need a folder" in capsys.readouterr().err


def test_what_a_folder_has_and_cannot_be_looked_at_is_listed(checkpoint, images, tmp_path, monkeypatch, capsys):
    (images / "gone.jpg").symlink_to("missing.jpg")
    (images / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    out = tmp_path / "out"
    assert main(["predict", checkpoint, str(images), "--out", str(out), "--json", "--device", "cpu"]) == 1
    printed = capsys.readouterr()
    assert "2 of 4 files" in printed.out
    assert f"The image file {images / 'gone.jpg'} does not exist." in printed.err
    assert f"Permission denied: '{images / 'closed'}'" in printed.err


def test_the_end_says_how_much_there_was(checkpoint, images, tmp_path, capsys):
    command = ["predict", checkpoint, "--out", str(tmp_path / "out"), "--device", "cpu", "--threshold", "0"]
    assert main([*command, str(images / "a.png")]) == 0
    objects = len(json.loads((tmp_path / "out" / "a.png.json").read_text())["annotations"])
    segments = json.loads((tmp_path / "out" / "a.png.panoptic.json").read_text())["annotations"][0]["segments_info"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"1 image, {objects} objects, {len(segments)} segments, ")
    assert last.endswith(" images a second")
    assert main([*command, str(images)]) == 0
    assert "2 of 2 files are predicted in " in (printed := capsys.readouterr().out)
    assert ", 1 of them by an earlier start" in printed
    assert main([*command, str(images)]) == 0
    assert capsys.readouterr().out.endswith(", 2 of them by an earlier start\n")


def test_two_processes_do_not_predict_into_one_folder(checkpoint, images, tmp_path, capsys):
    def start() -> int:
        return main(["predict", checkpoint, str(images), "--out", str(tmp_path), "--json", "--device", "cpu"])

    with folder_lock(tmp_path, LOCK_FILE, "wait."):
        if (child := os.fork()) == 0:
            status = -1
            try:
                status = start()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert not (tmp_path / "predict.json").exists()
    assert start() == 0
    assert not (tmp_path / LOCK_FILE).exists()


def test_ids_of_classes_that_are_no_values_of_pixels(images, tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setattr(warnings_once, "_said", set())
    recipe = small_recipe("mask2former")
    names = [f"class {index}" for index in range(recipe.model.num_classes)]
    classes = class_map([f"id {name}" for name in names], names).to_plain()
    path = str(write(tmp_path / "model.pth", recipe, metadata={"classes": classes}))
    command = ["predict", path, str(images / "a.png"), "--device", "cpu", "--out"]
    assert main([*command, str(tmp_path / "out"), "--semantic"]) == 2
    assert "The class id 'id class 0' is no value of a pixel" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*command, str(tmp_path / "out")]) == 0
    assert "no semantic PNG can hold it. None is written." in caplog.text
    assert {"a.png.json", "a.png.panoptic.png"} < files_of(tmp_path / "out")


def test_a_folder_in_the_place_of_a_result_is_no_result(checkpoint, images, tmp_path, capsys):
    (tmp_path / "out" / "a.png.json").mkdir(parents=True)
    assert main(["predict", checkpoint, str(images), "--out", str(tmp_path / "out"), "--json", "--device", "cpu"]) == 2
    assert "a.png.json" in capsys.readouterr().err


def test_files_of_other_kinds_are_no_checkpoints(images, tmp_path, capsys):
    for ending in trained.EXPORTED:
        assert main(["predict", f"model{ending}", str(images), "--out", str(tmp_path / "out")]) == 2
        assert f"model{ending} is an exported model and no checkpoint" in capsys.readouterr().err
    assert set(trained.EXPORTED) == {one.ending for one in FORMATS.values()}
    assert main(["predict", "", str(images), "--out", str(tmp_path / "out")]) == 2
    assert "'' is no path of a checkpoint" in capsys.readouterr().err


def test_a_checkpoint_of_a_newer_version_is_said_to_be_perhaps_one(images, tmp_path, capsys):
    recipe = small_recipe("classifier")
    recipe.model.from_tomorrow = 1
    path = write(tmp_path / "model.pth", small_recipe("classifier"), recipe=recipe_to_yaml(recipe))
    assert main(["predict", str(path), str(images), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    printed = capsys.readouterr().err
    assert "unexpected keyword argument 'from_tomorrow'" in printed
    assert "A checkpoint of a newer version needs that version of focalnet-d2." in printed


def test_a_recipe_that_was_changed_is_another_setting(images, tmp_path, capsys):
    path = write(tmp_path / "model.pth", small_recipe("classifier"), recipe="")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe_to_yaml(small_recipe("classifier")))
    command = ["predict", str(path), str(images), "--out", str(tmp_path / "out"), "--recipe", str(recipe), "--device"]
    assert main([*command, "cpu"]) == main([*command, "cpu"]) == 0
    os.utime(recipe, (1, 1))
    assert main([*command, "cpu"]) == 2
    assert "with other settings" in capsys.readouterr().err


def test_names_that_differ_in_capital_letters_alone(images, tmp_path, capsys):
    """On a file system that takes them for one, which has the lock by any of its names."""
    Image.new("RGB", (20, 10)).save(images / "A.png")
    path = write(tmp_path / "model.pth", small_recipe("classifier"))
    command = ["predict", str(path), str(images), "--out", str(tmp_path / "out"), "--device", "cpu"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK_FILE.upper()).touch()
    assert main(command) == 2
    assert "A.png and " in (printed := capsys.readouterr().err)
    assert "where small and capital letters are the same" in printed
    (tmp_path / "out" / LOCK_FILE.upper()).unlink()
    assert main(command) == 0


def test_results_are_let_go_before_those_of_the_next_image_are_made(checkpoint, images, tmp_path, monkeypatch):
    read_result, made, still_there = predictor.read_result, [], []

    def reading(*arguments, **options):
        still_there.append([one() for one in made if one() is not None])
        found = read_result(*arguments, **options)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(predictor, "read_result", reading)
    assert main(["predict", checkpoint, str(images), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert still_there == [[], []]

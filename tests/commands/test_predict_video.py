"""`focalnet-d2 predict` on videos: one JSON a video, files a frame, a drawn video, and what goes wrong."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.commands.main import main
from focalnet_d2.inference.predictor import Predictor
from focalnet_d2.inference.video import open_video, read_video
from tests.inference.checkpoints import small_recipe, write

TIMES = (0.0, 0.1, 0.3, 0.4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(write(tmp_path_factory.mktemp("run") / "model_best.pth", small_recipe("mask2former")))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    draws = np.random.default_rng(0)
    with open_video(path) as writer:
        for time in TIMES:
            writer.write(draws.integers(0, 256, (40, 64, 3), dtype=np.uint8), time)
    return path


def predict(checkpoint, path, out, *options) -> int:
    command = ["predict", checkpoint, str(path), "--out", str(out), "--device", "cpu", "--threshold", "0"]
    return main([*command, *options])


def test_a_video_has_one_json_and_files_for_each_frame(checkpoint, clip, tmp_path):
    assert predict(checkpoint, clip, tmp_path, "--json", "--panoptic", "--video", "--every", "2") == 0
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    frames = {f"clip.mp4/00000{index}.panoptic.{end}" for index in (0, 2) for end in ("png", "json")}
    assert written == {"predict.json", "clip.mp4.json", "clip.mp4.video.mp4", *frames}
    content = json.loads((tmp_path / "clip.mp4.json").read_text())
    assert [(image["id"], image["frame_index"]) for image in content["images"]] == [(1, 0), (3, 2)]
    assert [image["time"] for image in content["images"]] == pytest.approx([0.0, 0.3], abs=1e-4)
    assert [entry["id"] for entry in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
    assert {entry["image_id"] for entry in content["annotations"]} == {1, 3}
    assert [frame.time for frame in read_video(tmp_path / "clip.mp4.video.mp4")] == pytest.approx([0.0, 0.3], abs=1e-4)


def test_frames_are_predicted_as_images_are(checkpoint, clip):
    predictor = Predictor(checkpoint, device="cpu", threshold=0, batch_size=3)
    by_video = list(predictor.video(clip))
    assert [prediction.time for prediction in by_video] == pytest.approx(TIMES, abs=1e-4)
    for frame, found in zip(read_video(clip), by_video, strict=True):
        np.testing.assert_array_equal(found.image, frame.pixels)
        np.testing.assert_allclose(found.boxes, predictor(frame.pixels).boxes, atol=1e-3)
    assert len(predictor(clip)) == len(TIMES)


def test_a_folder_has_images_and_videos_and_one_that_is_broken_stops_no_other(checkpoint, clip, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "clip.mp4").write_bytes(clip.read_bytes())
    (folder / "broken.mp4").write_text("no video " * 100)
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    assert predict(checkpoint, folder, out, "--json") == 1
    printed = capsys.readouterr()
    assert "broken.mp4 is no video" in printed.err
    assert "2 of 3 files" in printed.out
    assert {path.name for path in out.iterdir()} == {"predict.json", "clip.mp4.json", "a.png.json"}


def test_a_finished_video_is_not_predicted_again(checkpoint, clip, tmp_path, monkeypatch):
    assert predict(checkpoint, clip, tmp_path, "--json") == 0
    monkeypatch.setattr(Predictor, "video", None)
    assert predict(checkpoint, clip, tmp_path, "--json") == 0


def test_a_tracker_that_is_missing_is_said_with_its_command(checkpoint, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "trackers", None)
    assert predict(checkpoint, clip, tmp_path, "--track") != 0
    assert "pip install 'focalnet-d2[tracking]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

"""What check-data says about images of other channels than 8-bit red, green and blue."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.commands import check_data
from focalnet_d2.data.channel_statistics import ChannelStatistics
from focalnet_d2.data.checks import images as module
from focalnet_d2.data.checks.images import Said, look_at_image
from focalnet_d2.data.image_reading import read_picture
from tests.data.channel_images import noise, write_tiff
from tests.own_data_folders import SIZE, write_boxes


def with_channels(root: Path, count: int = 3) -> np.ndarray:
    """The first `count` images of a part become TIFFs of five channels; their values, (count, H, W, 5)."""
    file = root / "train" / "_annotations.coco.json"
    content = json.loads(file.read_text())
    values = noise(count, SIZE, SIZE, 5)
    for image, one in zip(content["images"], values):
        (file.parent / image["file_name"]).unlink()
        image["file_name"] = f"{Path(image['file_name']).stem}.tif"
        write_tiff(file.parent / image["file_name"], one)
    file.write_text(json.dumps(content))
    return values


def check(root: Path, capsys, *options: str) -> dict:
    check_data.main([str(root), "--json", "--workers", "1", "--out", str(root.parent / "page"), *options])
    return json.loads(capsys.readouterr().out)


def test_images_of_other_channels_are_faults_and_a_note_says_all_about_them(tmp_path, capsys):
    root = write_boxes(tmp_path / "data", parts=("train",), count=3)
    values = with_channels(root)
    found = check(root, capsys)
    faults = {fault["kind"]: fault for fault in found["faults"]}
    assert "has 5 channels of uint16 and no 8-bit colors" in faults["unusable-pixels"]["message"]
    statistics = ChannelStatistics.of_image(values.reshape(-1, SIZE, 5), "")
    assert str(statistics).partition("means")[0] in faults["channels"]["message"]
    assert "Train on them with data.channels=5" in faults["channels"]["message"]


def test_they_are_none_where_they_are_wanted(tmp_path, capsys):
    root = write_boxes(tmp_path / "data", parts=("train",), count=3)
    with_channels(root)
    found = check(root, capsys, "--channels", "[4,0]", "--fix", str(tmp_path / "fixed"))
    assert found["clean"]
    assert [fault["kind"] for fault in found["faults"]] == ["channels"]
    assert found["datasets"][0]["parts"]["train"]["pixel_formats"] == {"5 channels of uint16": 3}
    assert (tmp_path / "page" / "check.html").read_text().count("data:image/jpeg") >= 3
    copies = sorted((tmp_path / "fixed").rglob("*.tif"))
    assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in sorted(root.rglob("*.tif"))]


@pytest.mark.parametrize(
    ("count", "channels", "message"),
    [
        (2, "5", "5 channels of uint16, and .* 3 channels of uint8"),
        (3, "4", "set data.channels=5, or list the numbers"),
    ],
)
def test_other_channels_than_the_wanted_ones_are_an_error(tmp_path, capsys, count, channels, message):
    root = write_boxes(tmp_path / "data", parts=("train",), count=3)
    with_channels(root, count)
    (fault,) = [one for one in check(root, capsys, "--channels", channels)["faults"] if one["severity"] == "error"]
    assert fault["kind"] == "different-channels"
    assert re.search(message, fault["message"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "the value is 0: it must be a number of channels"),
        ("five", "the value is five: it must be a number of channels"),
        ("[1,1]", "the value is [1, 1]: it must list numbers of channels, each once"),
        ("-2", "the value is -2: it must be a number of channels"),
        ("[]", "the value is []: it must be a number of channels"),
    ],
)
def test_channels_that_are_none_are_refused(tmp_path, capsys, text, message):
    with pytest.raises(SystemExit):
        check_data.main([str(tmp_path), f"--channels={text}"])
    assert f"argument --channels: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "kinds"), [((8, 9), []), ((9, 8), ["swapped-image-size"]), (None, [])])
def test_an_image_of_other_channels_is_looked_at_like_any_other(tmp_path, size, kinds):
    file = write_tiff(tmp_path / "a.tif", noise(8, 9, 5))
    seen = look_at_image(str(file), Said("labels.json", "1", size, has_channels=True))
    assert [fault.kind for fault in seen.faults] == kinds
    assert (seen.content, seen.image.size) == ("5 channels of uint16", (9, 8))
    assert np.array_equal(read_picture(str(file)), np.array(seen.image))


def test_values_that_are_no_numbers_are_an_error(tmp_path):
    values = noise(8, 9, 2, dtype="float32")
    values[0, 0, 0] = np.nan
    file = write_tiff(tmp_path / "a.tif", values)
    seen = look_at_image(str(file), Said("", "1", has_channels=True))
    assert [fault.kind for fault in seen.faults] == ["nonfinite-pixels"]


def test_a_missing_reader_is_said_and_a_damaged_file_is_damaged(tmp_path, monkeypatch):
    file = write_tiff(tmp_path / "a.tif", noise(8, 9, 5))
    (tmp_path / "b.tif").write_bytes(file.read_bytes()[:60])
    (fault,) = look_at_image(str(tmp_path / "b.tif"), Said("", "1")).faults
    assert fault.kind == "unreadable-image"
    monkeypatch.setitem(sys.modules, "tifffile", None)
    monkeypatch.setattr(module, "has_tiff_reader", lambda: False)
    (fault,) = look_at_image(str(file), Said("", "1")).faults
    assert "pip install 'focalnet-d2[tiff]'" in fault.message


def test_what_is_no_image_at_all_stays_an_error(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        read_picture(str(tmp_path / "a.png"))
    Image.new("RGB", (4, 4), "red").save(tmp_path / "b.png")
    assert read_picture(str(tmp_path / "b.png")).tolist() == [[[255, 0, 0]] * 4] * 4


def test_an_image_that_is_there_twice_is_found(tmp_path, capsys):
    root = write_boxes(tmp_path / "data", parts=("train",), count=3)
    values = with_channels(root)
    write_tiff(root / "train" / "train_2.tif", values[0], compression="deflate")
    faults = check(root, capsys, "--channels", "5")["faults"]
    assert [fault["kind"] for fault in faults if fault["severity"] != "note"] == ["exact-duplicate"]

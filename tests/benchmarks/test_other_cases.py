"""Small runs of the cases that measure processes of their own, or find facts."""

import platform
import sys

import pytest
from detectron2.data.datasets import load_coco_json

from benchmarks.builders import annotation_files
from focalnet_d2.data.datasets.instances import load_instances
from focalnet_d2.data.packed import loading
from focalnet_d2.data.packed.records import PackedRecords


def test_a_large_image_differs_in_no_pixel_and_takes_little_memory(run_cases):
    """Three maps of 200 queries at this size take 0.9 GB, those of 133 classes another 0.3 GB."""
    [found] = run_cases("postprocessing_memory")["rows"]
    assert found["different_pixels"] == {"semantic": 0, "instances": 0, "panoptic": 0}
    assert found["segments"] > 10
    assert found["gigabytes"] < 0.3


@pytest.mark.skipif(sys.platform != "linux", reason="memory by process is read from /proc")
def test_memory_of_dataset_dicts(run_cases):
    [row] = run_cases("dataset dicts*fork")["rows"]
    assert row["forms"]["library"]["bytes"] < row["forms"]["reference"]["bytes"]


def test_a_big_annotation_file(run_cases):
    """Of both ways to read it, what is small: the library's goals are those of a file of 380 MB."""
    seconds, memory = run_cases("annotation_files")["rows"]
    assert seconds["case"] == "a COCO file of 40 images and 280 polygons, reading"
    assert seconds["goal"] == {"library, first start": 3.0}
    assert memory["goal"] == {"library, first start": 0.25}
    names = ["reference", "library, first start", "library, second start", "library, no cache"]
    assert list(seconds["forms"]) == list(memory["forms"]) == names
    assert all(form["seconds"] > 0 for form in seconds["forms"].values())
    assert all(form["bytes"] > 0 for form in memory["forms"].values())


def test_the_big_annotation_file_is_read_alike(tmp_path, monkeypatch):
    """By both, when the library takes it for a big one."""
    monkeypatch.setattr(loading, "BIG", 0)
    monkeypatch.setenv("FOCALNET_D2_RECORDS_CACHE", "0")
    path = tmp_path / "made.json"
    path.write_text("".join(annotation_files.file_parts(30)))
    records = load_instances(str(path), "images", "made")
    assert isinstance(records, PackedRecords)
    assert list(records) == load_coco_json(str(path), "images", "made again")


def test_the_way_to_the_first_batch(run_cases):
    """Of few images; the goals are those of 500,000, beside a tenth that was multiplied."""
    seconds, memory = run_cases("*of 40 images, first batch")["rows"]
    assert seconds["case"] == "a COCO file of 40 images and 560 boxes, first batch"
    assert seconds["extrapolated_from"] == memory["extrapolated_from"] == 20
    assert seconds["goal"] == {"library, first start": 5.0}
    assert memory["goal"] == {"library, first start": 0.125}
    for row in (seconds, memory):
        assert list(row["forms"]) == ["reference", "library, first start", "library, second start"]
    assert all(form["seconds"] > 0 for form in seconds["forms"].values())
    assert all(form["bytes"] > 0 for form in memory["forms"].values())


def test_the_first_step(run_cases):
    [row] = run_cases("first_step")["rows"]
    assert row["case"] == "from the command to the first iteration, 8 images"
    assert row["goal"] == 0.667
    assert row["forms"]["library"]["seconds"] > row["forms"]["reference"]["seconds"] > 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_kept_memory(run_cases):
    rows = run_cases("cpu_memory")["rows"]
    assert [row["case"].split()[1] for row in rows] == ["inference", "forward"]
    for row in rows:
        assert list(row["forms"]) == ["returns", "keeps"]
        assert row["precision"] == "float32"
        assert all(form["seconds"] > 0 and form["peak_bytes"] > 0 for form in row["forms"].values())


def test_bf16_on_golden_data(run_cases):
    [row] = run_cases("golden data")["rows"]
    assert row["case"] == "FocalNet, mini_L_fl3_97x131_b2"
    assert 0 < row["errors"]["features"] < 0.02


def test_training_step(run_cases, capsys):
    result = run_cases("training_step", "--set", "amp=bf16", 'overrides=["model.encoder.use_checkpoint=True"]')
    [row] = result["rows"]
    assert row["case"] == "dino_focalnet_mini_demo training step 128x160, batch 1"
    assert row["precision"] == "bfloat16"
    assert row["overrides"] == ["model.encoder.use_checkpoint=True"]
    assert row["forms"]["library"]["seconds"] > 0
    assert row["forms"]["library"]["peak_bytes"] > 1e8  # of the process
    assert result["device"] == "cpu"
    assert "GB" in capsys.readouterr().out


def test_a_process_grows_by_what_was_counted(run_cases):
    """Within a quarter, at a size where what libraries take for themselves is small; and the plan goes beside it."""
    result = run_cases("memory")
    [row] = result["rows"]
    kept, recomputed = row["forms"]["kept"], row["forms"]["recomputed"]
    assert kept["counted_bytes"] > 1.2 * recomputed["counted_bytes"]
    assert kept["grown_bytes"] == pytest.approx(kept["counted_bytes"], rel=0.25)
    assert recomputed["seconds"] > 0
    assert [len(result["plan"]), result["plan"][0]["case"]] == [12, "dino_focalnet_mini_quickstart@128x160"]


def test_shared_machine(run_cases):
    rows = run_cases("dino_focalnet_mini_demo inference 64x96", "--set", "busy=[0, 1]")["rows"]
    assert [row["case"] for row in rows] == [
        f"dino_focalnet_mini_demo inference 64x96 beside {busy} busy processes" for busy in (0, 1)
    ]
    for row in rows:
        assert list(row["forms"]) == ["reference", "library"]
        assert row["fair_share"] > 0


def test_a_whole_evaluation(run_cases):
    [row] = run_cases("whole_evaluation")["rows"]
    assert row["case"] == "a whole evaluation of 8 images, 100 detections each"
    assert row["limits"] == {"seconds": 10, "bytes": 1.5e9}
    [found] = row["forms"].values()
    assert 0 < found["AP"] < 100
    assert found["seconds"] > 0
    assert found["bytes"] > 1e8

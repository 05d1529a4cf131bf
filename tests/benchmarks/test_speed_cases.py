"""Small runs of the cases that have a reference implementation, which find the library's results equal to its."""

import pytest

from focalnet_d2.kernels import compiler


def test_backbone(run_cases):
    result = run_cases("backbone")
    assert result["machine"]["threads"] == 1
    assert result["command"].startswith("python benchmarks/run.py backbone --small")
    limits = {"float32": 1e-4, "bfloat16": 0.1}
    networks, passes = ("FocalNet-T", "FocalNet-B", "FocalNet-T 9,11,13"), ("forward", "forward + backward")
    expected = [(f"{name} {what} 64x96", precision) for name in networks for what in passes for precision in limits]
    assert [(row["case"], row["precision"]) for row in result["rows"]] == expected
    for row in result["rows"]:
        assert row["forms"]["library"]["difference"] < limits[row["precision"]]
        assert min(row["share_of"].values()) > 0
    assert result["rows"][0]["goal"] == 2.3


@pytest.mark.parametrize("has_compiler", [True, False])
def test_deformable_attention(run_cases, monkeypatch, has_compiler):
    if not has_compiler:
        monkeypatch.setenv(compiler.SWITCH, "0")
    rows = run_cases("deformable attention*float32")["rows"]
    expected = ["compiled", "table_lookup"] if has_compiler else ["table_lookup"]
    assert len(rows) == 4
    for row in rows:
        assert list(row["forms"]) == ["reference", *expected]
        assert all(row["forms"][name]["difference"] < 1e-5 for name in expected)


def test_deformable_attention_in_bfloat16(run_cases):
    for row in run_cases("deformable attention*bfloat16")["rows"]:
        assert all(form.get("difference", 0) < 1e-2 for form in row["forms"].values())
        assert "goal" not in row


def test_dino(run_cases):
    result = run_cases("dino", "--set", "precision=float32")
    inference, step, memory = result["rows"]
    assert inference["forms"]["library"]["difference"] < 1e-5  # of logits and boxes
    assert step["forms"]["library"]["difference"] < 1e-3  # of losses and gradients
    assert min(row["gflop"] for row in (inference, step)) > 0
    assert result["recipe"] == "dino_focalnet_mini_coco"
    assert result["machine"]["freed_memory"].startswith(("kept by all", "as the environment"))
    assert all(form["bytes"] > 0 for form in memory["forms"].values())


def test_mask2former(run_cases):
    inference, step, memory = run_cases("mask2former", "--set", "precision=float32")["rows"]
    assert inference["forms"]["library"]["difference"] < 1e-4
    assert step["forms"]["library"]["difference"] < 1e-3  # of losses and gradients
    assert min(row["gflop"] for row in (inference, step)) > 0
    assert all(form["bytes"] > 0 for form in memory["forms"].values())
    assert memory["forms"]["library, bfloat16"]["share"] > 0
    assert memory["goal"] == {"library, float32": 0.45, "library, bfloat16": 0.3}


def test_postprocessing(run_cases):
    [row] = run_cases("postprocessing")["rows"]
    assert row["forms"]["library"]["difference"] < 1e-6
    assert row["gflop"] > 0


@pytest.mark.parametrize("word", ["LSJ-1024 instance", "LSJ-1024 panoptic, 3 images", "ADE-6", "ADE-512 semantic"])
def test_mappers_give_the_same_samples(run_cases, word):
    [row] = [row for row in run_cases(word)["rows"] if row["forms"] and "beside decoding" not in row["case"]]
    assert row["forms"]["library"]["difference"] == 0
    assert row["forms"]["library"]["ms_per_image"].keys() == {"read", "augment", "targets"}


def test_images_in_shards_are_those_of_the_files(run_cases):
    mapping, reading = run_cases("shards")["rows"]
    assert mapping["forms"]["library"]["difference"] == reading["forms"]["library"]["difference"] == 0
    assert mapping["forms"]["library"]["images_per_second"] > 0


def test_detection_mapper_and_its_loader(run_cases):
    result = run_cases("boxes")
    mapper, loader = [row for row in result["rows"] if "beside decoding" not in row["case"]]
    assert mapper["forms"]["library"]["difference"] == 0
    assert mapper["cores_per_gpu"].keys() == {"H", "L", "T"}
    assert loader["ms_per_image"].keys() == {"worker", "training process"}
    assert result["images"] == "made here"


@pytest.mark.filterwarnings("ignore:The 'warn' method")
def test_evaluators(run_cases, capsys):
    rows = run_cases("evaluators")["rows"]
    assert any(row["case"].startswith("mIoU") for row in rows)
    assert any(row["case"].startswith("box AP") for row in rows)
    for row in rows:
        reference, *others = row["forms"].values()
        assert reference["seconds"] > 0
        assert all(form["ratio"] > 0 and form["difference"] < 1e-12 for form in others)
    printed = capsys.readouterr().out
    assert all(name in printed for row in rows for name in (row["case"], *row["forms"]))


def test_compiling(run_cases):
    [row] = run_cases("DINO's encoder forward 32x48", "--set", "precision=float32")["rows"]
    assert row["compile_s"] > 0
    assert row["forms"]["compiled"]["difference"] == 0


def test_exported_deformable_attention(run_cases):
    encoder, decoder = run_cases("exported_deformable_attention")["rows"]
    for row in (encoder, decoder):
        assert len(row["forms"]) == 7  # torch, and three forms in two runtimes
        assert all(form.get("difference", 0) < 1e-5 for form in row["forms"].values())


def test_exported_models(run_cases):
    dino, mask2former = run_cases("exported_models")["rows"]
    for row in (dino, mask2former):
        assert list(row["forms"]) == ["reference", "onnxruntime", "OpenVINO", "OpenVINO int8"]
        differences = {name: form.get("difference", 0) for name, form in row["forms"].items()}
        assert differences.pop("OpenVINO int8") < 0.5
        assert all(difference < 1e-5 for difference in differences.values())

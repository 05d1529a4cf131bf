"""The helpers of the golden tests: which folder is read, the rule for weights, and that errors are seen as errors."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.golden.cases import (
    SHIPPED,
    absolute_error,
    assert_within,
    dino_cases,
    focalnet_cases,
    focalnet_weight,
    golden_dir,
    golden_file,
    l2_error,
    relative_error,
)
from tests.golden.mm_cases import RECIPES, mm_cases


@pytest.mark.parametrize(
    ("salt", "name", "shape", "first", "total"),
    [
        ("", "norm0.weight", [32], (0.982117, 0.880759, 1.128374), 32.3882),
        ("", "layers.0.blocks.0.modulation.f.bias", [68], (0.041008, -0.040147, -0.057627), 0.3503),
        ("", "patch_embed.proj.weight", [96, 3, 4, 4], (-0.005846, 0.107565, -0.288648), 5.6499),
        ("", "layers.0.blocks.0.gamma_1", [32], (0.091489, 0.084091, 0.103116), 3.2520),
        ("ckpt/", "norm.weight", [256], (0.972838, 0.858552, 1.050040), 256.8150),
        ("s21/", "sem_seg_head.predictor.class_embed.weight", [11, 64], (0.041022, 0.054549, -0.124182), 18.2896),
        ("s21/", "sem_seg_head.predictor.query_feat.weight", [24, 64], (-0.328315, 0.434612, -0.694459), 31.3267),
    ],
)
def test_rule_for_weights(salt, name, shape, first, total):
    values = focalnet_weight(name, shape, salt)
    np.testing.assert_allclose(values.ravel()[:3], first, atol=1e-6)
    assert values.astype(np.float64).sum() == pytest.approx(total, abs=1e-4)


def test_another_folder_replaces_only_what_it_has(tmp_path, monkeypatch):
    (tmp_path / "dino").mkdir()
    (tmp_path / "dino" / "cases.json").write_text('{"mine": {"layout": "detrex"}}')
    monkeypatch.setenv("GOLDEN_DIR", str(tmp_path))
    assert golden_dir("dino") == tmp_path / "dino"
    assert golden_dir("focalnet") == SHIPPED / "focalnet"
    assert golden_file("dino", "components.npz") == SHIPPED / "dino" / "components.npz"
    assert [case["name"] for case in dino_cases(kinds=["dino"])] == ["mine"]
    assert dino_cases("train", kinds=["dino"]) == dino_cases(layout="focalnet_dino") == []
    monkeypatch.delenv("GOLDEN_DIR")
    assert golden_dir("dino") == SHIPPED / "dino"


OTHER_FOLDER = "(mine and float64) or mask2former_errors or test_every_manifest_is_described"


def other_folder(place: Path) -> Path:
    """Golden data with a Mask2Former loss case and an ATSS step, renamed and without gradients, and nothing else."""
    for kind, name in (("mask2former", "A_loss"), ("atss", "mini_train_b3")):
        (case,) = (one for one in json.loads((SHIPPED / kind / "cases.json").read_text()) if one["name"] == name)
        (place / kind).mkdir()
        case = {**case, "name": "mine", "npz": "mine.npz"}
        case.pop("grads", None)
        case.get("info", {}).pop("grad_norms", None)
        with np.load(SHIPPED / kind / f"{name}.npz") as stored:
            kept = {key: stored[key] for key in stored.files if not key.startswith("grad")}
        np.savez(place / kind / "mine.npz", **kept)
        (place / kind / "cases.json").write_text(json.dumps([case]))
    return place


@pytest.mark.slow
def test_a_folder_without_the_shipped_names_skips_what_it_lacks(tmp_path):
    """Collecting and running both: what names a case or a manifest skips, and losses stand in for gradients."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        "tests/golden",
        "-k",
        OTHER_FOLDER,
    ]
    environment = {**os.environ, "GOLDEN_DIR": str(other_folder(tmp_path))}
    run = subprocess.run(command, cwd=SHIPPED.parents[1], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]
    assert re.search(r"\b2 passed, 2 skipped", run.stdout), run.stdout[-3000:]
    assert "is not in the golden data of this run" in run.stdout


def test_every_shipped_case_has_its_data(monkeypatch):
    monkeypatch.delenv("GOLDEN_DIR", raising=False)
    assert focalnet_cases()
    assert dino_cases()
    assert all((SHIPPED / "focalnet" / case["npz"]).exists() for case in focalnet_cases())
    assert {case["model"] for case in mm_cases()} == set(RECIPES)
    assert all((SHIPPED / case["model"] / case["npz"]).exists() for case in mm_cases())
    assert all((SHIPPED / case["kind"] / f"{case['name']}_eval.npz").exists() for case in dino_cases("eval"))


def test_errors_by_hand():
    golden = np.array([3.0, -4.0])
    assert relative_error(torch.tensor([3.0, -4.4]), golden) == pytest.approx(0.1)
    assert absolute_error(torch.tensor([3.5, -4.0]), golden) == pytest.approx(0.5)
    assert l2_error(torch.tensor([3.0, -3.0]), golden) == pytest.approx(0.2)
    assert absolute_error(torch.tensor([math.inf, 1.0]), np.array([math.inf, 1.0])) == 0


@pytest.mark.parametrize("error", [relative_error, absolute_error, l2_error])
def test_other_shapes_and_numbers_that_are_none_are_never_accepted(error):
    golden = np.array([3.0, -4.0])
    for wrong in (torch.tensor([3.0]), torch.tensor([3.0, math.nan]), torch.tensor([3.0, math.inf])):
        with pytest.raises(AssertionError):
            assert_within(error, {"wrong": (wrong, golden)}, 1e9)
    with pytest.raises(AssertionError, match="no arrays"):
        assert_within(error, {}, 1.0)

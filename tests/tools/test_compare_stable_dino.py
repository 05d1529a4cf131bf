"""The comparison of Stable-DINO with DINO: its overrides, and its table of what runs left behind."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import apply_overrides, load_recipe

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="module")
def tool():
    """The module; like any script it finds its neighbors in its own folder."""
    sys.path.insert(0, str(TOOLS))
    try:
        spec = importlib.util.spec_from_file_location("compare_stable_dino", TOOLS / "compare_stable_dino.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(TOOLS))
    return module


def parts_of(overrides) -> dict:
    """The settings of Stable-DINO that a variant of the demo's DINO has."""
    model = build(apply_overrides(load_recipe("dino_focalnet_mini_demo"), overrides).model, "model")
    criterion = model.criterion
    modulation, fusion = criterion.matcher.position_modulation, model.encoder.fusion
    return {
        "supervision": criterion.position_supervision is not None,
        "weights": (criterion.class_weight, criterion.denoising_class_weight),
        "modulation": modulation and modulation.mode,
        "fusion": fusion and fusion.sources,
        "rejected_step": model.denoising.rejected_step,
    }


def test_variants_are_dino_with_the_parts_that_they_name(tool):
    dino = {"supervision": False, "weights": (1.0, None), "modulation": None, "fusion": None, "rejected_step": 1.0}
    supervision = {"supervision": True, "weights": (6, 1)}
    stable = {**dino, **supervision, "fusion": "all", "rejected_step": 0}
    expected = {
        "dino": dino,
        "official": {**stable, "modulation": "official"},
        "pairwise": {**stable, "modulation": "pairwise"},
        "supervision": {**dino, **supervision},
        "modulation": {**dino, "modulation": "official"},
        "fusion": {**dino, "fusion": "all"},
        "rejected_step": {**dino, "rejected_step": 0},
    }
    assert {name: parts_of(overrides) for name, overrides in tool.VARIANTS.items()} == expected


def test_the_table_has_means_and_ranges_of_finished_runs(tool, tmp_path):
    for variant, seed, ap in (
        ("dino", 0, (10, 30.04)),
        ("dino", 1, (20, 40)),
        ("fusion", 0, (12, 34)),
        ("fusion", 1, ()),
    ):
        folder = tmp_path / variant / f"seed{seed}"
        folder.mkdir(parents=True)
        lines = [{"iteration": i, "evaluated_after": 10.0 * (i + 1), "bbox/AP": value} for i, value in enumerate(ap)]
        (folder / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if ap:
            (folder / "seconds.json").write_text("7.6")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tool.table(tmp_path).splitlines()]
    assert lines[0] == ["variant", "seeds", "after 10", "after 20", "seconds"]
    assert lines[2:] == [
        ["dino", "2", "15.0 (10.0 to 20.0)", "35.0 (30.0 to 40.0)", "8"],
        ["fusion", "1", "12.0", "34.0", "8"],
    ]

"""The demo from end to end with one training step of each model, and the export of weights that it starts from."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image

from focalnet_d2.checkpoint import read_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]


def run_tool(name: str, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / name), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_demo_writes_numbers_and_picture_and_judges_them(tmp_path):
    short = ("train.max_iter=1", "train.device=cpu", "dataloader.test.dataset.limit=4")
    finished = run_tool("demo.py", "--output", tmp_path, *short, "dataloader.train.total_batch_size=2")
    results = json.loads((tmp_path / "results.json").read_text())
    misses = []
    for model, floors in results["floors"].items():
        for metric, floor in floors.items():
            task, _, name = metric.partition("/")
            before, after = (results[model][when][task][name] for when in ("before", "after"))
            assert 0 <= before <= 100
            assert f"{after:.1f}" in finished.stdout
            misses += [f"{model}: {metric}"] * (after < floor)
    assert set(results["floors"]["mask2former"]) == {"panoptic_seg/PQ", "sem_seg/mIoU"}
    assert finished.returncode == bool(misses), finished.stderr[-2000:]
    assert all(miss in finished.stderr for miss in misses)
    with Image.open(tmp_path / "predictions.png") as picture:
        assert min(picture.size) > 300
        assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 1000  # images, not an empty page


def test_export_keeps_the_weights_and_what_belongs_to_them(tmp_path):
    weights = {"linear.weight": torch.randn(3, 4), "count": torch.tensor(7)}
    metadata = {"thing_classes": ["disk", "star"]}
    save_checkpoint(tmp_path / "run.pth", {"model": weights, "iteration": 5, "metadata": metadata})
    exact, half = tmp_path / "exact.safetensors", tmp_path / "half.safetensors"
    assert run_tool("export_weights.py", tmp_path / "run.pth", exact).returncode == 0
    assert run_tool("export_weights.py", tmp_path / "run.pth", half, "--half").returncode == 0
    exported = read_checkpoint(exact)
    torch.testing.assert_close(exported["model"], weights, atol=0, rtol=0)
    assert exported["metadata"] == metadata
    halved = read_checkpoint(half)["model"]
    assert halved["linear.weight"].dtype == torch.float16
    assert halved["count"] == 7

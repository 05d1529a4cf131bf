"""The runtime imports neither torch nor Detectron2, and predicts where they cannot be imported."""

import json
import subprocess
import sys

import numpy as np
from PIL import Image

from tests.export.mean_color import write_mean_color
from tests.syntax_trees import ROOT

PROGRAM = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "detectron2", "fvcore", "pycocotools", "scipy", "omegaconf"}:
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Blocked())
from focalnet_d2.commands.runtime import main
sys.exit(main(sys.argv[1:]))
"""


def test_predicts_without_torch(tmp_path):
    write_mean_color(tmp_path / "mean.onnx")
    Image.fromarray(np.full((4, 5, 3), (1, 3, 2), np.uint8)).save(tmp_path / "green.png")
    arguments = [tmp_path / "mean.onnx", tmp_path / "green.png", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    (best, *_) = json.loads((tmp_path / "out" / "green.png.json").read_text())["class_scores"]
    assert (best["category_id"], best["name"], round(best["score"], 2)) == (8, "green", 0.67)

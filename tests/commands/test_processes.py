"""Commands in two processes: `predict` in those of torchrun, `evaluate` in those that it spawns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from focalnet_d2.commands.main import main
from tests.inference.checkpoints import small_recipe, write

ROOT = Path(__file__).parents[2]
COUNT = 5


def test_two_processes_write_the_files_of_one(tmp_path):
    checkpoint = str(write(tmp_path / "model_best.pth", small_recipe("dino")))
    images = tmp_path / "images"
    images.mkdir()
    draws = np.random.default_rng(0)
    for number in range(COUNT):
        Image.fromarray(draws.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(images / f"{number}.png")
    (images / "3b.png").write_text("no image")
    command = ["predict", checkpoint, str(images), "--device", "cpu", "--threshold", "0"]
    assert main([*command, "--out", str(tmp_path / "one")]) == 1
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ran = subprocess.run(
        [*torchrun, "-m", "focalnet_d2.commands.main", *command, "--out", str(tmp_path / "two")],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    assert f"{COUNT} of {COUNT + 1} files are predicted" in ran.stdout
    assert ran.stderr.count("3b.png cannot be read (it is no image)") == 1
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert names == sorted(["predict.json", *(f"{number}.png.json" for number in range(COUNT))])
    assert (tmp_path / "one" / "predict.json").read_bytes() == (tmp_path / "two" / "predict.json").read_bytes()
    for number in range(COUNT):
        one, two = (boxes_in(tmp_path / folder / f"{number}.png.json") for folder in ("one", "two"))
        assert len(one)
        np.testing.assert_allclose(one, two, atol=1e-5 * 60)


def test_a_mistake_that_only_the_processes_meet_is_one_line_too(tmp_path):
    """The processes are spawned, and each of them finds that the data set is missing."""
    command = [sys.executable, str(ROOT / "train_net.py"), "--config-file", "dino_focalnet_mini_quickstart"]
    settings = ["train.device=cpu", "train.init_checkpoint=x.pth", f"train.output_dir={tmp_path}"]
    done = subprocess.run(
        [*command, "--eval-only", "--num-processes", "2", *settings], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "instances_val.json" in line
    assert "Traceback" not in done.stdout + done.stderr


def boxes_in(path: Path) -> np.ndarray:
    return np.array([entry["bbox"] for entry in json.loads(path.read_text())["annotations"]])

"""A training from shards is the training from the folder that they were packed from, however it is run or stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train_net
from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.data.preparation.shards import pack_folder
from focalnet_d2.engine.trainer import Trainer
from focalnet_d2.utils.stop_signals import RunStopped
from tests.data.packed.conftest import own_cache
from tests.own_data_folders import write_boxes, write_classes, write_masks, write_panoptic, write_semantic
from tests.registered_sets import registered  # noqa: F401  autouse
from tests.test_own_data_runs import DINO, LOADERS, RUN, TINY_DINO, TINY_OF

ROOT = Path(__file__).resolve().parents[1]
FOUR = ("train.max_iter=4", "train.checkpoint_period=1")

pytestmark = pytest.mark.usefixtures(own_cache.__name__)


def sharded(root: Path) -> tuple[Path, Path]:
    """Data folders with the same data: of files, and of many small shards."""
    pack_folder(root, root.with_name("shards"), 6_000)
    assert len(list(root.with_name("shards").rglob("*.tar"))) > 2
    return root, root.with_name("shards")


def run(recipe: str, data: Path, folder: Path, *settings: str) -> None:
    """Trains from a folder of data."""
    train_net.main(["--config-file", recipe, f"data={data}", *settings, f"train.output_dir={folder}"])


def final(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "model_final.pth")["model"]


def assert_equal(one: Path, two: Path) -> None:
    first, second = final(one), final(two)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("recipe", "write"),
    [
        (DINO, write_boxes),
        ("mask2former_focalnet_mini_quickstart", write_masks),
        ("mask2former_focalnet_mini_quickstart", write_panoptic),
        ("mask2former_focalnet_mini_quickstart", write_semantic),
        ("classifier_focalnet_mini_folder", write_classes),
    ],
)
def test_weights_scores_and_predictions_are_those_of_the_folder(recipe, write, tmp_path):
    settings = (*TINY_OF[recipe], *LOADERS, *RUN)
    for data, name in zip(sharded(write(tmp_path / "folder")), ("files", "tars"), strict=True):
        run(recipe, data, tmp_path / name, *settings)
    assert_equal(tmp_path / "files", tmp_path / "tars")
    one, two = (tmp_path / name for name in ("files", "tars"))
    assert (one / "results.json").read_text() == (two / "results.json").read_text()
    results = [path.name for path in one.glob("*_results.json")]
    assert all((one / name).read_text() == (two / name).read_text() for name in results)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[Path, Path]:
    return sharded(write_boxes(tmp_path_factory.mktemp("data") / "folder", parts=("train",), count=6))


@pytest.fixture(scope="module")
def of_files(data, tmp_path_factory) -> Path:
    """A run from the files; the validation part is split off."""
    folder = tmp_path_factory.mktemp("run") / "files"
    run(DINO, data[0], folder, *TINY_DINO, *FOUR)
    return folder


def test_killed_and_resumed_equals_the_folder(data, of_files, tmp_path, monkeypatch):
    begun = Trainer.run_step

    def stopped(trainer):
        if trainer.iter == 2:
            signal.raise_signal(signal.SIGTERM)
        return begun(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_step", stopped)
        with pytest.raises(RunStopped):
            run(DINO, data[1], tmp_path, *TINY_DINO, *FOUR)
    command = [sys.executable, "train_net.py", "--config-file", str(tmp_path / "recipe.yaml"), "--resume"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_equal(of_files, tmp_path)
    assert (tmp_path / "val_images.txt").read_text() == (of_files / "val_images.txt").read_text()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_workers_that_load_equal_the_folder(data, of_files, tmp_path):
    run(DINO, data[1], tmp_path, *TINY_DINO, *FOUR, "dataloader.train.num_workers=2", "dataloader.test.num_workers=1")
    assert_equal(of_files, tmp_path)


def test_two_processes_equal_two_on_the_folder(data, tmp_path):
    for root, name in zip(data, ("files", "tars"), strict=True):
        command = [sys.executable, "train_net.py", "--config-file", DINO, "--num-processes", "2", f"data={root}"]
        command += [*TINY_DINO, *FOUR, f"train.output_dir={tmp_path / name}"]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert_equal(tmp_path / "files", tmp_path / "tars")


def test_a_shard_that_changes_stops_the_run_that_reads_it(data, tmp_path):
    shards = shutil.copytree(data[1], tmp_path / "shards")
    settings = (*TINY_DINO, "train.checkpoint_period=1", f"train.output_dir={tmp_path / 'run'}")
    train_net.main(["--config-file", DINO, f"data={shards}", *settings])
    for path in shards.glob("*.tar"):
        path.write_bytes(path.read_bytes()[:3000])
    command = ["--config-file", str(tmp_path / "run" / "recipe.yaml"), "--resume", "train.max_iter=4"]
    with pytest.raises(ValueError, match=r"\.tar has changed since it was looked at|\.tar is cut off in its member"):
        train_net.main(command)
    assert json.loads((tmp_path / "run" / "results.json").read_text())

"""A step of a tiny DINO that was not finite is done again, bit for bit, and what began it is named."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train_net
from focalnet_d2.checkpoint import read_checkpoint, save_checkpoint
from focalnet_d2.commands import replay
from focalnet_d2.engine.nonfinite import NonFiniteError, kept_files
from focalnet_d2.engine.replay import find_kept
from tests.tiny_run import RECIPE, TINY

ROOT = Path(__file__).parents[2]
DIVERGING = ("optimizer.lr=1e30", "train.clip_norm=0")


def diverge(folder, *settings, iteration: int = 1) -> str:
    """A run that ends at an iteration; what it says."""
    torch.set_num_threads(1)
    command = ["--config-file", RECIPE, *TINY, f"train.output_dir={folder}", *settings]
    with pytest.raises(NonFiniteError) as error:
        train_net.main(command)
    assert [path.name for path in kept_files(folder)] == [f"nonfinite_{iteration:07d}.pth"]
    return str(error.value)


def lines_of(capsys, *arguments) -> tuple[int, str]:
    capsys.readouterr()
    status = replay.main([*map(str, arguments)])
    output = capsys.readouterr()
    return status, output.out + output.err


@pytest.fixture(scope="module")
def diverged(tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "diverged"
    message = diverge(folder, *DIVERGING)
    assert f"`focalnet-d2 replay {folder}` does it again" in message
    assert re.search(r"nonfinite_0000001\.pth \(\d+\.\d MiB\) keeps it", message)
    return folder


def test_the_losses_come_again_bit_for_bit_and_the_first_module_is_named(diverged, capsys):
    status, lines = lines_of(capsys, diverged)
    assert status == 0, lines
    assert "losses: those of the run, bit for bit\n" in lines
    assert "weights: finite before the step\n" in lines
    assert "input: finite\n" in lines
    assert re.search(r"forward: backbone\S* \(\w+\) makes \w+ \(\d+ of \d+ numbers\) from inputs between ", lines)


def test_precision_and_accumulation_are_those_of_the_run(tiny_data, tmp_path, capsys):
    diverge(tmp_path, *DIVERGING, "train.amp=bf16", "train.accumulation=2", "train.ema.enabled=True")
    assert read_checkpoint(find_kept(tmp_path))["averaged"] is not None
    status, lines = lines_of(capsys, tmp_path, "--iteration", 1)
    assert status == 0, lines


def test_weights_of_classes_are_those_of_the_run(tiny_data, tmp_path, capsys):
    diverge(tmp_path, "train.class_weights={left:3e38}", iteration=0)  # a sum of which is infinity
    status, lines = lines_of(capsys, tmp_path)
    assert status == 0, lines


def test_a_planted_fault_is_found_in_a_recipe_that_is_trusted(tiny_data, tmp_path, capsys):
    target = "model.position_embedding._target_=tests.engine.planted.FailingEncoding"
    diverge(tmp_path, target, "--trust")
    status, lines = lines_of(capsys, tmp_path)
    assert (status, "--trust" in lines) == (2, True)
    status, lines = lines_of(capsys, tmp_path, "--trust")
    assert status == 0, lines
    assert "forward: position_embedding (FailingEncoding) makes NaN" in lines
    assert ", by div at engine/planted.py:" in lines


def test_bad_data_and_weights_are_told_from_a_bad_module(diverged, tmp_path, capsys):
    content = read_checkpoint(find_kept(diverged))
    instances = content["ranks"][0]["batch"][1]["dict"]["instances"]["instances"]["dict"]["fields"]["dict"]
    instances["gt_boxes"]["boxes"][0, 2] = torch.nan
    name = next(name for name in content["model"] if name.endswith("bias"))
    content["model"][name] = torch.full_like(content["model"][name], torch.inf)
    save_checkpoint(tmp_path / "nonfinite_0000001.pth", content)
    status, lines = lines_of(capsys, tmp_path)
    assert f"weights: {name}: not finite before the step\n" in lines
    assert re.search(r"input: 1 numbers of gt_boxes of \S*\.png are not finite\n", lines)
    assert status in (0, 1)


def test_other_losses_are_told_and_missing_steps_too(diverged, tmp_path, capsys):
    content = read_checkpoint(find_kept(diverged))
    content["ranks"][0]["losses"]["loss_class"] = 1.0
    save_checkpoint(tmp_path / "nonfinite_0000001.pth", content)
    status, lines = lines_of(capsys, tmp_path / "nonfinite_0000001.pth")
    assert status == 1
    assert "losses: others than in the run, which was on cpu (loss_class 1.0 then, " in lines
    status, lines = lines_of(capsys, diverged, "--iteration", 7)
    assert (status, "holds nothing of iteration 7, but nonfinite_0000001.pth" in lines) == (2, True)
    status, lines = lines_of(capsys, tmp_path / "nowhere")
    assert (status, "holds no step to do again" in lines) == (2, True)


def test_two_processes_are_two_again():
    """They are forked from a process that has imported everything already."""
    command = [sys.executable, "-m", "tests.engine.replay_by_two"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("losses: those of the run, bit for bit") == 2 * 2  # both print both
    assert "process 1:" in done.stdout

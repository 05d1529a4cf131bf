"""The command line on a folder that holds a run already: refused, resumed, overwritten, evaluated, stopped."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import train_net
from focalnet_d2.data.shared_memory_dataset import SharedMemoryDataset
from focalnet_d2.engine.stopping import Stoppable
from focalnet_d2.engine.trainer import Trainer
from focalnet_d2.utils.stop_signals import EXIT_STATUS, RunStopped
from tests.tiny_run import RECIPE, TINY

ROOT = Path(__file__).parents[1]
TWO = ("train.max_iter=2", "optimizer.weight_decay=0.05")


def run(folder, *arguments, settings=TINY):
    torch.set_num_threads(1)
    return train_net.main(["--config-file", RECIPE, *settings, f"train.output_dir={folder}", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tiny_data, tmp_path_factory) -> Path:
    """A run of 2 iterations; the tests below go on with it one after the other."""
    folder = tmp_path_factory.mktemp("again")
    run(folder, *TWO)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "run.lock"}


def metrics(folder: Path) -> dict[int, dict]:
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == sorted({line["iteration"] for line in lines})
    return {line["iteration"]: line for line in lines}


def log_of(folder: Path) -> str:
    return (folder / "log.txt").read_text()


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "model_final.pth", weights_only=True)


def test_a_second_run_is_refused_and_changes_nothing(folder):
    before = contents(folder)
    with pytest.raises(ValueError, match=r"of another run: add --resume .*, set train\.output_dir .* --overwrite"):
        run(folder, *TWO)
    assert contents(folder) == before


def test_an_evaluation_in_the_folder_of_a_training_has_its_own(folder):
    before = contents(folder)
    weights = f"train.init_checkpoint={folder / 'model_final.pth'}"
    for _ in range(2):
        assert set(run(folder, "--eval-only", weights)) == {"bbox"}
    assert contents(folder) == before
    assert {"results.json", "recipe.yaml", "log.txt"} <= set(contents(folder / "evaluation"))


def test_nothing_left_to_do_is_said(folder):
    before = contents(folder)
    for iterations in (2, 1):
        run(folder, "--resume", f"train.max_iter={iterations}")
        assert f"run of 2 iterations and train.max_iter is {iterations}: nothing is left to do" in log_of(folder)
    after = contents(folder)
    assert {name: after[name] for name in before if name != "log.txt"} == {
        name: value for name, value in before.items() if name != "log.txt"
    }


def test_another_grouping_of_the_optimizer_is_refused(folder):
    with pytest.raises(ValueError, match=r"Cannot resume from .*optimizer\.decay_rule: \w+ -> imagenet"):
        run(folder, "--resume", "train.max_iter=4", "optimizer.decay_rule=imagenet")


def test_settings_given_on_resume_take_effect_and_those_of_the_first_start_are_kept(folder):
    """Only the new ones are typed: the tiny model is that of the first start."""
    before = checkpoint(folder)
    run(folder, "--resume", "train.max_iter=4", "optimizer.lr=1e-5", settings=())
    assert "\n  optimizer.lr: 0.0004 -> 1e-05" in log_of(folder)
    assert "\n  train.max_iter: 2 -> 4" in log_of(folder)
    rates = {iteration: line["lr"] for iteration, line in metrics(folder).items() if "lr" in line}
    assert rates == pytest.approx({0: 4e-4, 1: 4e-4, 2: 1e-5, 3: 1e-5})
    after = checkpoint(folder)
    assert {group["weight_decay"] for group in after["optimizer"]["param_groups"]} == {0.05}
    assert before["metadata"]["run"] == after["metadata"]["run"] == json.loads((folder / "run.json").read_text())["id"]
    for text in ((folder / "recipe.yaml").read_text(), after["recipe"]):
        assert "lr: 1.0e-05" in text
        assert "weight_decay: 0.05" in text


def test_overwriting_starts_another_run(folder):
    before = checkpoint(folder)["metadata"]["run"]
    (folder / "notes.txt").write_text("mine")
    (folder / "model_0000009.pth").write_bytes(b"of a longer run")
    run(folder, "--overwrite", *TWO)
    assert checkpoint(folder)["metadata"]["run"] != before
    assert set(metrics(folder)) == {0, 1, 2}
    assert not (folder / "model_0000009.pth").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_start_that_failed_does_not_lose_the_run_to_overwrite(folder):
    before = contents(folder)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run(folder, "--overwrite", "train.init_checkpoint=nowhere.pth")
    assert {**contents(folder), "log.txt": b""} == {**before, "log.txt": b""}


def test_a_run_without_a_checkpoint_starts_again(tiny_data, tmp_path, monkeypatch):
    def fail(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_step", fail)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, *TWO)
    (tmp_path / ".model_final.pth.0123.unfinished").touch()
    run(tmp_path, "--resume", *TWO)
    assert "has no checkpoint yet: the run starts again" in log_of(tmp_path)
    assert set(metrics(tmp_path)) == {0, 1, 2}
    assert not list(tmp_path.glob(".*"))


def interrupt(patch, signum: int, owner: object, name: str, when: Callable[[object], bool]) -> None:
    """The process gets a signal whenever it begins this method of an object for which `when` holds."""
    method = getattr(owner, name)

    def interrupted(self, *arguments):
        if when(self):
            signal.raise_signal(signum)
        return method(self, *arguments)

    patch.setattr(owner, name, interrupted)


def test_stopped_by_signals_and_resumed_equals_uninterrupted(tiny_data, tmp_path, monkeypatch):
    """Twice by SIGTERM in a step, and by others in an evaluation that is made up for, in the last one, at the start."""
    settings = ("train.max_iter=4", "train.eval_period=2", "train.ema.enabled=True")
    run(tmp_path / "one", *settings)
    for signum, owner, name, when, message in [
        (signal.SIGINT, SharedMemoryDataset, "__init__", lambda _: True, "SIGINT before the first step: nothing was"),
        (signal.SIGTERM, Trainer, "run_step", lambda trainer: trainer.iter == 1, "SIGTERM after 2 iterations"),
        (signal.SIGUSR1, Stoppable, "__iter__", lambda _: True, "SIGUSR1 in the evaluation after 2 iterations"),
        (signal.SIGTERM, Trainer, "run_step", lambda trainer: trainer.iter == 2, "SIGTERM after 3 iterations"),
        (signal.SIGUSR1, Stoppable, "__iter__", lambda _: True, "SIGUSR1 in the evaluation after 4 iterations"),
    ]:
        with monkeypatch.context() as patch:
            interrupt(patch, signum, owner, name, when)
            flags = ["--resume"] if (tmp_path / "two" / "run.json").exists() else []
            with pytest.raises(RunStopped, match=f"Stopped by {message}") as stopped:
                run(tmp_path / "two", *flags, *settings)
        assert stopped.value.exit_status == EXIT_STATUS[signum]
    run(tmp_path / "two", "--resume", *settings)
    one, two = (checkpoint(tmp_path / name) for name in ("one", "two"))
    for part in ("model", "training_model"):
        assert all(torch.equal(value, two[part][name]) for name, value in one[part].items())
    assert one["best"] == two["best"]
    one, two = (metrics(tmp_path / name) for name in ("one", "two"))
    for iteration, line in one.items():  # losses are medians over the iterations of a start
        numbers = {key: value for key, value in line.items() if key.startswith(("bbox/", "evaluated", "lr"))}
        assert numbers.items() <= two[iteration].items()


def test_several_processes_agree_to_stop(tiny_data, tmp_path):
    """Only the process that started them gets the signal, when it sees a checkpoint."""
    settings = ("train.max_iter=100000", "train.checkpoint_period=1", "train.keep_checkpoints=1")
    command = [sys.executable, "train_net.py", "--config-file", RECIPE, *TINY, *settings, "--num-processes", "2"]
    process = subprocess.Popen(
        [*command, f"train.output_dir={tmp_path}"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if "Saved" in line:
            process.terminate()
            break
    _, errors = process.communicate()
    assert process.returncode == 143, errors
    (message,) = [line for line in errors.splitlines() if line.startswith("Stopped by")]
    done = int(message.split(" after ")[1].split()[0])
    assert message.startswith("Stopped by SIGTERM after")
    assert (tmp_path / "last_checkpoint").read_text() == f"model_{done:07d}.pth"
    assert "Traceback" not in errors

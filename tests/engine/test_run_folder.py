"""Whose a folder is: what is refused, removed, locked, and what stays."""

import json
import multiprocessing
import os

import pytest
import torch

from focalnet_d2.engine.run_folder import RunIdentity, locked, read_identity, remove_run, require_free, require_one_run
from focalnet_d2.utils import folder_lock


def checkpoint(path, run=None):
    torch.save({"metadata": {} if run is None else {"run": run}}, path)


def test_an_identity_is_read_as_it_was_written(tmp_path):
    assert read_identity(tmp_path) is None
    identity = RunIdentity("ab", "dino_focalnet_huge", ("a=1", "b='c d'"))
    identity.write(tmp_path)
    assert read_identity(tmp_path) == identity
    (tmp_path / "run.json").write_text('{"id": 1}')
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        read_identity(tmp_path)


def test_later_overrides_take_the_place_of_earlier_ones():
    identity = RunIdentity("ab", "x", ("a=1", "b=2")).continued(["a=3", "c=4"])
    assert identity == RunIdentity("ab", "x", ("b=2", "a=3", "c=4"))


@pytest.mark.parametrize(
    "name", ["model_0000005.pth", "model_final.pth", "last_checkpoint", "best.json", "metrics.json", "results.json"]
)
def test_a_folder_with_the_work_of_a_run_is_not_free(tmp_path, name):
    (tmp_path / name).write_text("1")
    with pytest.raises(ValueError, match=rf"holds {name} of another run: add --resume .* or add --overwrite"):
        require_free(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "recipe.yaml", "log.txt", "nan_batch.json", "model_day.pth", "notes.txt"])
def test_what_a_failed_start_leaves_and_files_of_others_do_not_matter(tmp_path, name):
    (tmp_path / name).write_text("1")
    (tmp_path / "metrics.json").touch()
    require_free(tmp_path)


def test_only_the_files_of_a_run_are_removed(tmp_path):
    RunIdentity("ab", "x").write(tmp_path)
    for name in ("model_0000005.pth", "model_0000006.suspect.pth", "model_final.pth", "model_best.pth"):
        checkpoint(tmp_path / name, "ab")
    for name in ("last_checkpoint", "best.json", "metrics.json", "results.json", "recipe.yaml", "bbox_counts.json"):
        (tmp_path / name).write_text("1")
    stay = ["log.txt", "model_day.pth", "model_final.pth.bak", "notes.txt", "results", "samples"]
    for name in stay[:-1]:
        (tmp_path / name).write_text("1")
    (tmp_path / "samples").mkdir()
    for name in ("first_batch.jpg", "samples/0000005.jpg", "samples/mine.png"):
        (tmp_path / name).write_text("1")
    remove_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == stay
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["mine.png"]


def test_the_weights_to_start_from_are_not_removed(tmp_path):
    checkpoint(tmp_path / "model_final.pth")
    with pytest.raises(ValueError, match=r"--overwrite would remove train\.init_checkpoint=.*model_final\.pth"):
        remove_run(tmp_path, spare=os.path.relpath(tmp_path / "model_final.pth"))
    assert (tmp_path / "model_final.pth").exists()


def test_a_checkpoint_of_another_run_is_named_and_stays(tmp_path):
    RunIdentity("ab", "x").write(tmp_path)
    checkpoint(tmp_path / "model_0000001.pth", "ab")
    checkpoint(tmp_path / "model_0000002.pth")  # of 0.1.0
    (tmp_path / "model_0000003.pth").write_text("unreadable")
    assert require_one_run(tmp_path) == "ab"
    checkpoint(tmp_path / "model_0000009.pth", "cd")
    for function in (require_one_run, remove_run):
        with pytest.raises(ValueError, match=r"model_0000009\.pth belongs to run cd and not to run ab"):
            function(tmp_path)
    assert (tmp_path / "model_0000001.pth").exists()


def test_checkpoints_without_their_folder_know_their_run(tmp_path):
    assert require_one_run(tmp_path) is None
    checkpoint(tmp_path / "model_0000001.pth", "ab")
    assert require_one_run(tmp_path) == "ab"


def hold(folder, pipe):
    with locked(folder):
        pipe.send(os.getpid())
        pipe.recv()


@pytest.fixture
def holder(tmp_path):
    """A process that works in the folder."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=hold, args=(tmp_path, theirs))
    process.start()
    assert ours.recv() == process.pid
    yield process
    process.kill()
    process.join()


def test_a_folder_in_use_is_refused_until_its_process_is_dead(tmp_path, holder):
    with pytest.raises(ValueError, match=rf"is in use by process {holder.pid} on "), locked(tmp_path):
        pass
    holder.kill()
    holder.join()
    unfinished = tmp_path / ".model_final.pth.0123.unfinished"
    unfinished.touch()
    with locked(tmp_path):
        assert not unfinished.exists()
        assert f"process {os.getpid()} on" in (tmp_path / "run.lock").read_text()


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch, caplog):
    def fail(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(folder_lock.fcntl, "lockf", fail)
    with caplog.at_level("WARNING"), locked(tmp_path):
        pass
    assert "cannot be locked (No locks available)" in caplog.text


def test_identities_are_plain_json(tmp_path):
    RunIdentity("ab", "x", ("a=1",)).write(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text()) == {"id": "ab", "recipe": "x", "overrides": ["a=1"]}

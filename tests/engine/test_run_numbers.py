"""Runs in folders that nobody has named: each new one has its own, and --resume finds the one to go on with."""

import json
import multiprocessing
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.config.lazy import recipe_to_yaml
from focalnet_d2.engine import jobs
from focalnet_d2.engine.jobs import Job, launch_job
from focalnet_d2.engine.run_folder import RunIdentity
from focalnet_d2.engine.run_numbers import enter_next, folders_of, numbered, read_status, runs_to_resume
from tests.recipes import recipe_named

DINO = "dino_focalnet_mini_quickstart"
RECIPES: dict[tuple[int, str], str] = {}


def recipe_text(max_iter: int, data: str = "") -> str:
    if (max_iter, data) not in RECIPES:
        recipe = recipe_named(DINO).copy()
        recipe.train.max_iter = max_iter
        if data:
            recipe.data = {"root": data, "found": None}
        RECIPES[max_iter, data] = recipe_to_yaml(recipe)
    return RECIPES[max_iter, data]


def write_run(folder: Path, done: int, max_iter: int = 4, *, data="", recipe=DINO, evaluated=True, longer=None) -> Path:
    """The files of a run that has stopped after so many iterations."""
    RunIdentity("ab", recipe).write(folder)
    (folder / "recipe.yaml").write_text(recipe_text(longer or max_iter, data))
    if done:
        name = "model_final.pth" if done == max_iter else f"model_{done:07d}.pth"
        content = {"iteration": done, "recipe": recipe_text(max_iter, data), "metadata": {"run": "ab"}}
        torch.save(content, folder / name)
        (folder / "last_checkpoint").write_text(name)
        line = {"iteration": done, **({"evaluated_after": done} if evaluated else {})}
        (folder / "metrics.json").write_text(json.dumps(line) + "\n")
    return folder


@given(st.sets(st.integers(1, 6)), st.sets(st.integers(1, 6)))
def test_a_new_run_has_the_number_after_all_that_hold_work(tmp_path_factory, with_work, without):
    base = tmp_path_factory.mktemp("output") / "mini"
    for number in with_work | without:
        numbered(base, number).mkdir()
        (numbered(base, number) / ("metrics.json" if number in with_work else "log.txt")).write_text("1")
    (base.parent / "mini-old").mkdir()
    with ExitStack() as stack:
        folder, about = enter_next(stack, base)
    assert folder == numbered(base, max(with_work, default=0) + 1)
    assert (str(folder) in about) == bool(with_work)
    assert set(folders_of(base)) == with_work | without | {max(with_work, default=0) + 1}


def take(base, pipe):
    with ExitStack() as stack:
        pipe.send(enter_next(stack, base)[0].name)
        pipe.recv()


def test_processes_that_start_at_once_have_folders_of_their_own(tmp_path):
    write_run(tmp_path / "mini", 2)
    context, pipes, processes = multiprocessing.get_context("fork"), [], []
    for _ in range(6):
        ours, theirs = multiprocessing.Pipe()
        pipes.append(ours)
        processes.append(context.Process(target=take, args=(tmp_path / "mini", theirs)))
    for process in processes:
        process.start()
    names = [pipe.recv() for pipe in pipes]
    for pipe, process in zip(pipes, processes):
        pipe.send("end")
        process.join()
    assert sorted(names) == [f"mini-{number}" for number in range(2, 8)]


def test_how_far_a_run_is(tmp_path):
    status = read_status(write_run(tmp_path / "a", 2, data="/data"))
    assert (status.recipe, status.data, status.done, status.max_iter, status.is_complete) == (
        DINO,
        "/data",
        2,
        4,
        False,
    )
    assert str(status) == f"{tmp_path / 'a'} (2 of 4 iterations on /data)"
    assert read_status(write_run(tmp_path / "b", 4)).is_complete
    assert not read_status(write_run(tmp_path / "c", 4, evaluated=False)).is_complete
    assert not read_status(write_run(tmp_path / "d", 4, longer=6)).is_complete
    assert read_status(write_run(tmp_path / "e", 0)).done == 0


def test_the_newest_run_of_recipe_and_data_that_is_not_complete(tmp_path):
    base = tmp_path / "mini"
    write_run(base, 2)
    write_run(tmp_path / "mini-2", 1, data="/one")
    write_run(tmp_path / "mini-3", 2, data="/two")
    write_run(tmp_path / "mini-4", 3, data="/two", recipe="mask2former_focalnet_mini_quickstart")
    write_run(tmp_path / "mini-10", 4, data="/two")
    (tmp_path / "mini-11").mkdir()
    for data, names in {"/two": ["mini-3"], "/one": ["mini-2"], "": ["mini"]}.items():
        assert [run.folder.name for run in runs_to_resume(base, DINO, data)] == names
    with pytest.raises(ValueError, match=r"several runs .*mini-3 \(2 of 4 iterations on /two\), .*output_dir=.*mini-3"):
        runs_to_resume(base, DINO, None)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint of .* on /three in .*The runs there are: .*mini-10"):
        runs_to_resume(base, DINO, "/three")
    write_run(tmp_path / "mini-3", 4, data="/two")
    assert [run.folder.name for run in runs_to_resume(base, DINO, "/two")] == ["mini-10"]
    with pytest.raises(FileNotFoundError, match="found no checkpoint of .*: start without it, or set"):
        runs_to_resume(tmp_path / "other", DINO, None)


@pytest.fixture
def places(tmp_path, monkeypatch) -> list[tuple[str, str]]:
    """Folder and id of each job that runs here; its training leaves a checkpoint after 2 of 4 iterations."""
    seen = []

    def train(recipe, job, run):
        folder = Path(recipe.train.output_dir)
        seen.append((str(folder), run))
        write_run(folder, 2)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "do_train", train)
    return seen


def test_jobs_take_numbers_resume_the_newest_and_respect_what_was_typed(places, tmp_path):
    for _ in range(2):
        launch_job(Job(DINO, ["train.device=cpu"]))
    launch_job(Job(DINO, ["train.device=cpu"], resume=True))
    launch_job(Job(DINO, ["train.device=cpu", "train.output_dir="]))
    launch_job(Job(DINO, ["train.device=cpu"], overwrite=True))
    folders = [f"output/{DINO}{end}" for end in ("", "-2", "-2", "-3", "")]
    assert [folder for folder, _ in places] == folders
    assert places[2][1] == "ab"  # the run's id
    log = (tmp_path / folders[1] / "log.txt").read_text()
    assert f"{folders[0]} holds another run, so this one is in {folders[1]}" in log
    assert f"goes on with {folders[1]} (2 of 4 iterations); not complete either: {folders[0]} (2 of 4" in log
    for typed in (folders[0], "mine"):
        write_run(tmp_path / typed, 2)
        with pytest.raises(ValueError, match="of another run: add --resume"):
            launch_job(Job(DINO, ["train.device=cpu", f"train.output_dir={typed}"]))
    with pytest.raises(ValueError, match="of another run: add --resume"):
        launch_job(Job(folders[1], ["train.device=cpu"]))
    assert len(places) == 5


def test_a_resumed_run_has_the_settings_of_its_own_folder(places):
    for seed in (5, 6):
        launch_job(Job(DINO, ["train.device=cpu"]))
        RunIdentity("ab", DINO, (f"train.seed={seed}",)).write(Path(places[-1][0]))
    recipe = Job(DINO, resume=True).read_recipe()
    assert (recipe.train.seed, recipe.train.output_dir) == (6, places[-1][0])
    assert Job(DINO, resume=True).train_settings().seed == 6

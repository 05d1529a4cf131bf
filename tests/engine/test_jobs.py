"""A job that names a run, by its folder or by the recipe in it: where it works, and which weights it scores."""

import pickle
import shutil

import pytest

from focalnet_d2.config.lazy import recipe_to_yaml
from focalnet_d2.engine.jobs import Job
from focalnet_d2.engine.run_folder import RunIdentity
from tests.recipes import recipe_named

DINO = "dino_focalnet_mini_quickstart"


@pytest.fixture
def run(tmp_path):
    """The folder of a run without a checkpoint, whose recipe starts from other weights."""
    folder = tmp_path / "first"
    recipe = recipe_named(DINO).copy()
    recipe.train.output_dir, recipe.train.init_checkpoint = str(folder), "start.pth"
    RunIdentity("0123456789abcdef", DINO).write(folder)
    (folder / "recipe.yaml").write_text(recipe_to_yaml(recipe))
    return folder


def test_a_run_works_where_it_lies_however_it_is_named(run, tmp_path, monkeypatch):
    assert Job(run).moved_from == ""
    assert Job(run, resume=True).read_recipe().train.output_dir == str(run)
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    monkeypatch.chdir(tmp_path)
    for name in (copy, copy / "recipe.yaml", "copy"):
        job = pickle.loads(pickle.dumps(Job(name, resume=True)))
        assert (job.moved_from, job.run_folder) == (str(run), copy)
        assert job.train_settings().output_dir == job.read_recipe().train.output_dir == str(copy)
        assert Job(name, ["train.output_dir=other"]).read_recipe().train.output_dir == "other"
    (copy / "run.json").unlink()
    assert Job(copy).read_recipe().train.output_dir == str(run)  # of an evaluation, or written by hand


def test_of_a_run_its_own_weights_are_scored(run):
    job = Job(run / "recipe.yaml", evaluate_only=True)
    with pytest.raises(FileNotFoundError, match="first has no checkpoint to evaluate: .* train.init_checkpoint=FILE"):
        job.read_recipe()
    (run / "model_0000002.pth").touch()
    (run / "last_checkpoint").write_text("model_0000002.pth")
    assert job.read_recipe().train.init_checkpoint == str(run / "model_0000002.pth")
    (run / "model_best.pth").touch()
    assert job.read_recipe().train.init_checkpoint == str(run / "model_best.pth")
    assert Job(run, ["train.init_checkpoint=mine.pth"], evaluate_only=True).read_recipe().train.init_checkpoint == (
        "mine.pth"
    )
    assert Job(run, resume=True).read_recipe().train.init_checkpoint == "start.pth"

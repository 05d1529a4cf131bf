"""Runs whose length is given in epochs: made, made longer, and told again by their own recipe."""

import json
from pathlib import Path

import pytest
import torch

import train_net
from tests.tiny_run import DATA, MODEL, RECIPE, TRAIN, tiny_dataset

TINY = (
    *MODEL,
    *DATA,
    *(setting for setting in TRAIN if not setting.startswith(("train.max_iter", "train.eval_", "train.checkpoint_"))),
    "dataloader.train.total_batch_size=3",  # of 4 images: an epoch ends within a batch
)
IN_EPOCHS = ("train.eval_epochs=1", "train.checkpoint_epochs=1", "train.warmup_epochs=0.5")


def run(folder: Path, *arguments: str, recipe: str | Path = RECIPE, settings=TINY) -> None:
    torch.set_num_threads(1)
    train_net.main(["--config-file", str(recipe), *settings, f"train.output_dir={folder}", *arguments])


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def have_same_weights(*folders: Path) -> bool:
    one, other = (torch.load(folder / "model_final.pth", weights_only=True)["model"] for folder in folders)
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def finished(tiny_data, tmp_path_factory) -> Path:
    """3 epochs of 4 images at batch 3."""
    folder = tmp_path_factory.mktemp("epochs") / "run"
    run(folder, "train.epochs=3", *IN_EPOCHS)
    return folder


def test_a_run_in_epochs_is_evaluated_and_saved_with_their_ends(finished):
    assert [line["evaluated_after"] for line in lines(finished) if "evaluated_after" in line] == [2, 3, 4]
    assert sorted(path.name for path in finished.glob("model_0*.pth")) == ["model_0000002.pth", "model_0000003.pth"]
    assert [line["lr"] for line in lines(finished)[:2]] == pytest.approx([4e-7, 4e-4])
    log = (finished / "log.txt").read_text()
    assert "3 epochs of 4 images at batch 3: 1.333 iterations an epoch" in log
    assert "4 in all; evaluation after 2, 3, 4, ... iterations" in log
    assert "iteration 3/4  epoch 2.25/3" in log


def test_recipe_yaml_keeps_what_was_typed_and_gives_the_same_run(finished, tmp_path):
    told = (finished / "recipe.yaml").read_text()
    for line in ("epochs: 3", "eval_epochs: 1", "warmup_epochs: 0.5", "max_iter: 4"):
        assert f"  {line}\n" in told
    run(tmp_path, recipe=finished / "recipe.yaml", settings=())
    assert have_same_weights(tmp_path, finished)


def test_resuming_with_more_epochs_makes_the_run_longer(tiny_data, tmp_path):
    long, step = tmp_path / "long", tmp_path / "step"
    rates = ("lr_multiplier.values=[1,1]",)  # a schedule would stretch with the run
    run(long, "train.epochs=3", "train.eval_period=0", *rates)
    run(step, "train.epochs=1.5", "train.eval_period=0", *rates)
    run(step, "--resume", settings=())
    assert "nothing is left to do. Raise train.epochs=1.5 to train on." in (step / "log.txt").read_text()
    run(step, "--resume", "train.epochs=3", settings=())
    assert have_same_weights(step, long)
    run(step, "--resume", "train.max_iter=5", settings=())  # in place of the epochs that were typed before
    assert lines(step)[-1]["evaluated_after"] == 5
    told = (step / "recipe.yaml").read_text()
    assert "  epochs: 0\n" in told
    assert "train.epochs" not in (step / "run.json").read_text()


def test_resuming_on_other_images_says_so(tiny_data, tmp_path):
    run(tmp_path / "run", "train.epochs=1", "train.eval_period=0")
    with tiny_dataset(tmp_path / "fewer") as root:
        file = root / "generated" / "annotations" / "instances_train.json"
        content = json.loads(file.read_text())
        content["images"] = content["images"][:2]
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] in (10, 20)]
        file.write_text(json.dumps(content))
        run(tmp_path / "run", "--resume", "train.epochs=6", settings=())
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "There are 2 training images now, and there were 4 at the checkpoint" in log
    assert "6 epochs of 2 images at batch 3" in log


def test_a_run_that_is_not_getting_better_ends_as_a_complete_one(tiny_data, tmp_path):
    """Its AP is 0 at each evaluation."""
    run(tmp_path, "train.epochs=6", "train.eval_epochs=1", "train.patience=1")
    log = (tmp_path / "log.txt").read_text()
    assert "The training ends early, after 3 iterations: nothing better in 1 evaluation than the bbox/AP 0" in log
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    assert {line.get("stopped_early_after") for line in lines(tmp_path)} == {None, 3}
    assert [line["evaluated_after"] for line in lines(tmp_path) if "evaluated_after" in line] == [2, 3]
    run(tmp_path, "--resume", settings=())
    log = (tmp_path / "log.txt").read_text()
    assert "ended early after 3 of 8 iterations" in log
    assert "To train on, raise train.patience=1 above 1, or set train.patience=0." in log
    run(tmp_path, "--resume", "train.patience=2", settings=())
    assert lines(tmp_path)[-1]["stopped_early_after"] == 4

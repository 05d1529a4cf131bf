"""The command line on a tiny DINO: train, evaluate, resume, and what it says when something is wrong."""

import json

import pytest
import torch

import train_net
from focalnet_d2.checkpoint import read_checkpoint, save_checkpoint
from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.engine import jobs
from focalnet_d2.engine.trainer import NAN_REPORT, NonFiniteError, Trainer
from tests.tiny_run import RECIPE, TINY


def run(folder, *arguments, recipe=RECIPE):
    torch.set_num_threads(1)
    return train_net.main(["--config-file", recipe, *TINY, f"train.output_dir={folder}", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(tiny_data, tmp_path_factory):
    """A run of 6 iterations with checkpoints, evaluation and averaged weights on the way."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder, *LONG)
    return folder


LONG = (
    "train.max_iter=6",
    "train.checkpoint_period=4",
    "train.eval_period=3",
    "train.ema.enabled=true",
    "train.report=true",
)


def test_a_run_leaves_everything_in_its_folder(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"recipe.yaml", "metrics.json", "results.json", "log.txt", "model_final.pth", "model_best.pth"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    steps = [json.loads(line) for line in (finished / "metrics.json").read_text().splitlines()]
    last = next(step for step in steps if step["iteration"] == 5)
    assert {"loss_class", "loss_bbox_dn_0", "loss_giou_enc", "total_loss", "lr", "data_time"} <= set(last)
    log = (finished / "log.txt").read_text()
    assert "iteration 6/6" in log
    assert "| bbox" in log


def test_a_finished_run_has_a_report_of_its_start_and_its_data(finished):
    report = (finished / "report.html").read_text()
    assert "The training is complete." in report
    assert "cannot be made" not in report
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["data"]["train"] == {"images": 4, "objects": 12, "classes": {"right": 8, "left": 4}}
    assert environment["starts"][0]["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert environment["ended"]["iteration"] == 6
    for value in json.loads((finished / "results.json").read_text())["bbox"].values():
        assert value is None or f">{value:.2f}<" in report


def test_checkpoints_have_the_class_list_of_a_registered_data_set(finished):
    for name in ("model_final.pth", "model_best.pth"):
        rows = read_checkpoint(finished / name)["metadata"]["classes"]
        assert [row[:3] for row in rows] == [[3, "right", True], [7, "left", True]]


def test_evaluation_of_the_checkpoint_gives_the_same_numbers(finished, tmp_path):
    results = run(tmp_path, "--eval-only", f"train.init_checkpoint={finished / 'model_final.pth'}")
    written = json.loads((tmp_path / "results.json").read_text())
    assert written == json.loads((finished / "results.json").read_text())
    assert set(results) == {"bbox"}
    one, other = (folder / "coco_instances_results.json" for folder in (finished, tmp_path))
    assert one.read_text() == other.read_text()


def test_an_evaluation_with_suppression_comes_second(finished, tmp_path):
    weights = f"train.init_checkpoint={finished / 'model_final.pth'}"
    results = run(tmp_path / "both", "--eval-only", weights, "train.also_with_nms=0.001")
    alone = run(tmp_path / "alone", "--eval-only", weights, "model.nms_threshold=0.001")
    assert str(results["bbox_wnms"]) == str(alone["bbox"])  # a metric without objects is NaN
    assert (tmp_path / "both" / "results.json").read_text() == (finished / "results.json").read_text()
    files = [tmp_path / place / "coco_instances_results.json" for place in ("both/with_nms", "alone", "both")]
    second, only, first = (json.loads(path.read_text()) for path in files)
    assert second == only
    assert "Once more, with suppression at IoU 0.001, into" in (tmp_path / "both" / "log.txt").read_text()
    assert len(second) < len(first)


def test_the_written_recipe_runs_again(finished, tmp_path):
    results = run(
        tmp_path,
        "--eval-only",
        f"train.init_checkpoint={finished / 'model_best.pth'}",
        recipe=str(finished / "recipe.yaml"),
    )
    assert set(results) == {"bbox"}


def test_interrupted_at_step_5_and_resumed_equals_uninterrupted(finished, tiny_data, tmp_path, monkeypatch):
    step = Trainer.run_step

    def interrupted(self):
        if self.iter == 5:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(Trainer, "run_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, *LONG)
    monkeypatch.setattr(Trainer, "run_step", step)
    torch.manual_seed(77)
    run(tmp_path, "--resume", *LONG)
    one, other = (torch.load(folder / "model_final.pth", weights_only=True) for folder in (finished, tmp_path))
    for part in ("model", "training_model"):
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    for number, moments in one["optimizer"]["state"].items():
        assert all(torch.equal(value, other["optimizer"]["state"][number][name]) for name, value in moments.items())
    assert one["best"] == other["best"]
    assert (one["iteration"], other["iteration"]) == (6, 6)


def test_evaluation_on_the_way_changes_nothing(finished, tiny_data, tmp_path):
    run(tmp_path, *LONG, "train.eval_period=0")
    one, other = (torch.load(folder / "model_final.pth", weights_only=True)["model"] for folder in (finished, tmp_path))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_loss_that_is_not_a_number_keeps_the_last_good_checkpoint(tiny_data, tmp_path, monkeypatch):
    forward = jobs.build_model

    def noised(recipe):
        model = forward(recipe)
        compute_losses = model.criterion.compute_losses
        calls = []

        def score_badly(*args):
            judged = compute_losses(*args)
            calls.append(1)
            if len(calls) > 3 * 2:  # matched and denoising queries, once an iteration each: from the fourth on
                judged[0]["loss_giou"] = judged[0]["loss_giou"] * float("nan")
            return judged

        model.criterion.compute_losses = score_badly
        return model

    monkeypatch.setattr(jobs, "build_model", noised)
    with pytest.raises(NonFiniteError, match=r"loss_giou.*iteration 3.*1\.png"):
        run(tmp_path, "train.max_iter=9", "train.checkpoint_period=2")
    report = json.loads((tmp_path / NAN_REPORT).read_text())
    assert report["iteration"] == 3
    assert all("loss_giou" in term for term in report["terms"])
    assert len(report["files"]) == 4
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000002.pth"
    saved = torch.load(tmp_path / "model_0000002.pth", weights_only=True)
    assert all(value.isfinite().all() for value in saved["model"].values())
    assert not (tmp_path / "model_final.pth").exists()


def test_bf16_and_accumulation_on_the_cpu(tiny_data, tmp_path):
    run(tmp_path, "train.amp=bf16", "train.accumulation=4", "train.max_iter=1")
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    assert all(value.dtype is torch.float32 for value in saved.values() if value.is_floating_point())


def test_unknown_key_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(RecipeError, match=r"train\.max_itr.*train\.max_iter"):
        run(tmp_path / "run", "train.max_itr=3")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [("--eval-only",), ()])
def test_missing_weights_are_named(tiny_data, tmp_path, arguments):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        run(tmp_path, *arguments, "train.init_checkpoint=nowhere.pth")


def test_evaluation_without_weights_is_refused(tiny_data, tmp_path):
    with pytest.raises(RecipeError, match=r"train\.init_checkpoint=FILE"):
        run(tmp_path, "--eval-only")


def test_truncated_weights_are_named(finished, tmp_path):
    path = tmp_path / "cut.pth"
    path.write_bytes((finished / "model_final.pth").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\.pth is truncated"):
        run(tmp_path, "--eval-only", f"train.init_checkpoint={path}")


def test_a_backbone_alone_may_start_a_training_but_not_be_evaluated(finished, tiny_data, tmp_path):
    weights = read_checkpoint(finished / "model_final.pth")["model"]
    prefix = "backbone.bottom_up."
    backbone = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    path = tmp_path / "backbone.pth"
    save_checkpoint(path, {"model": backbone})
    with pytest.raises(ValueError, match=r"backbone\.pth .* holds only a part of the model"):
        run(tmp_path / "evaluated", "--eval-only", f"train.init_checkpoint={path}")
    run(tmp_path / "trained", "train.max_iter=1", f"train.init_checkpoint={path}")
    assert (tmp_path / "trained" / "model_final.pth").exists()


def test_missing_data_are_named(tiny_data, tmp_path):
    with pytest.raises(FileNotFoundError, match="DETECTRON2_DATASETS"):
        run(tmp_path, "dataloader.train.dataset.names=balloon_train")


def test_resume_without_a_checkpoint_is_refused(tiny_data, tmp_path):
    with pytest.raises(FileNotFoundError, match="found no checkpoint"):
        run(tmp_path, "--resume")


def test_settings_may_stand_between_the_options(tiny_data, tmp_path):
    with pytest.raises(RecipeError, match=r"train\.nonsense"):
        train_net.main(["train.nonsense=1", "--config-file", RECIPE, "--eval-only", "train.seed=1"])


def test_several_gpus_need_gpus():
    with pytest.raises(RecipeError, match="--num-gpus 2.*cpu.*--num-processes"):
        train_net.main(["--config-file", RECIPE, "--num-gpus", "2", "train.device=cpu"])

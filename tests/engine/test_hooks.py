"""Averaged weights, evaluation and checkpoint hooks on a toy model."""

import json
import signal
from itertools import repeat
from types import SimpleNamespace

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from focalnet_d2.config.moved import with_old_log_names
from focalnet_d2.engine.checkpointing import RunState
from focalnet_d2.engine.hooks import (
    BestCheckpoint,
    EMAHook,
    Evaluation,
    MetricsWriter,
    PeriodicCheckpoint,
)
from focalnet_d2.engine.metrics import MetricsFile, read_metrics
from focalnet_d2.engine.progress import ProgressPrinter, StepTimer, time_left
from focalnet_d2.engine.stopping import Stoppable
from focalnet_d2.engine.trainer import NAN_REPORT, NonFiniteError, Trainer
from focalnet_d2.utils.stop_signals import RunStopped


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.register_buffer("mean", torch.tensor([4.0]))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, batch):
        self.count += 1
        return {"loss_a": self.weight.square().sum()}


def make_trainer(model, hooks):
    trainer = Trainer(model, repeat([{}]), torch.optim.SGD(model.parameters(), lr=0.1), device=torch.device("cpu"))
    trainer.register_hooks(hooks)
    return trainer


def make_state(model, averaged=None):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parts = {"scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9), "scaler": torch.amp.GradScaler("cpu")}
    return RunState(model, optimizer=optimizer, averaged=averaged, **parts)


def test_average_by_hand():
    model = Toy()
    averaged = EMAHook(model, decay=0.75)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([5.0, 2.0]))
        model.mean.fill_(8.0)
        model.count.fill_(3)
    averaged.update()
    averaged.update()
    average = averaged.state_dict()
    share = 0.75**2
    torch.testing.assert_close(average["weight"], torch.tensor([5 - 4 * share, 2 - 4 * share]))
    torch.testing.assert_close(average["mean"], torch.tensor([8 - 4 * share]))
    assert average["count"] == 3


def test_average_is_swapped_in_and_out_even_after_an_error():
    model = Toy()
    averaged = EMAHook(model, decay=0.5)
    with torch.no_grad():
        model.weight.add_(1)
    inside = []

    def fail():
        inside.extend(model.weight.tolist())
        raise RuntimeError

    with pytest.raises(RuntimeError), averaged.swapped_in():
        fail()
    assert inside == [1.0, -2.0]
    assert model.weight.tolist() == [2.0, -1.0]


def test_average_does_not_change_the_training():
    runs = []
    for with_average in (False, True):
        model = Toy()
        make_trainer(model, [EMAHook(model, 0.9)] if with_average else []).train(0, 4)
        runs.append(model.weight.detach().clone())
    assert torch.equal(*runs)


def test_decay_out_of_range():
    with pytest.raises(ValueError, match=r"train\.ema\.decay is 1\.5"):
        EMAHook(Toy(), decay=1.5)


@pytest.mark.parametrize(("period", "expected"), [(0, [6]), (2, [2, 4, 6]), (4, [4, 6]), (6, [6])])
def test_evaluation_every_period_and_once_at_the_end(period, expected):
    model, seen = Toy(), []
    hook = Evaluation(lambda: seen.append(int(model.count)) or {"bbox": {"AP": 1.0}}, period)
    make_trainer(model, [hook]).train(0, 6)
    assert seen == expected


def test_no_evaluation_of_a_training_that_failed_in_its_last_step():
    seen = []

    class Failing(Toy):
        def forward(self, batch):
            if self.count == 2:
                raise RuntimeError("broken")
            return super().forward(batch)

    with pytest.raises(RuntimeError, match="broken"):
        make_trainer(Failing(), [Evaluation(lambda: seen.append(1) or {}, 0)]).train(0, 3)
    assert not seen


def run_with_scores(tmp_path, scores, state, *, start=0, metric="bbox/AP", given=None, **options):
    values = iter(scores)
    task, name = (given or metric).split("/")
    evaluation = Evaluation(lambda: {task: {name: next(values)}}, 1)
    hooks = [evaluation, BestCheckpoint(evaluation, metric, state, tmp_path, **options)]
    make_trainer(state.model, hooks).train(start, start + len(scores))


@pytest.mark.parametrize(("metric", "value", "iteration"), [("bbox/AP", 30.0, 3), ("validation/total_loss", 5.0, 2)])
def test_best_of_a_sequence(tmp_path, metric, value, iteration):
    state = make_state(Toy())
    run_with_scores(tmp_path, [10.0, 5.0, 30.0, float("nan"), 20.0], state, metric=metric)
    assert state.best == {"metric": metric, "value": value, "iteration": iteration}
    assert json.loads((tmp_path / "best.json").read_text()) == state.best
    saved = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert saved["best"] == state.best
    assert saved["model"]["count"] == iteration
    assert "optimizer" not in saved


def test_best_known_from_before_is_not_overwritten_by_less(tmp_path):
    state = make_state(Toy())
    state.best = {"metric": "bbox/AP", "value": 50.0, "iteration": 1}
    run_with_scores(tmp_path, [40.0, 45.0], state, start=1)
    assert state.best["value"] == 50.0
    assert not (tmp_path / "model_best.pth").exists()


def test_missing_metric_is_no_crash(tmp_path, caplog):
    run_with_scores(tmp_path, [1.0, 2.0], make_state(Toy()), metric="segm/AP", given="bbox/AP")
    assert not (tmp_path / "model_best.pth").exists()


def test_best_weights_are_the_averaged_ones(tmp_path):
    model = Toy()
    averaged = EMAHook(model, decay=0.5)
    averaged.average["weight"].fill_(7.0)
    run_with_scores(tmp_path, [1.0], make_state(model, averaged))
    assert torch.load(tmp_path / "model_best.pth", weights_only=True)["model"]["weight"].tolist() == [7.0, 7.0]


def test_periodic_checkpoints_and_how_many_stay(tmp_path):
    model = Toy()
    make_trainer(model, [PeriodicCheckpoint(make_state(model), tmp_path, 2, keep=2)]).train(0, 9)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["last_checkpoint", "model_0000006.pth", "model_0000008.pth", "model_final.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    assert torch.load(tmp_path / "model_0000006.pth", weights_only=True)["iteration"] == 6


def test_progress_line_has_the_last_layers_losses_and_the_time_left(monkeypatch):
    lines = []
    monkeypatch.setattr("focalnet_d2.engine.progress.logger.info", lines.append)
    with EventStorage(4) as storage:
        storage.put_scalars(loss_class=1.5, loss_class_0=9.0, loss_bbox_dn=9.0, total_loss=2.5, time=2.0)
        storage.put_scalar("lr", 1e-4, smoothing_hint=False)
        ProgressPrinter(max_iter=10, batch=6).write()
    (line,) = lines
    assert line.startswith("iteration 5/10  eta 0:00:10  2.000 s/it  3 images/s")
    assert "loss_class 1.5" in line
    assert "lr 0.0001" in line
    assert "_0" not in line
    assert "_dn" not in line


def test_the_old_name_of_a_loss_is_not_printed_beside_the_new_one(monkeypatch):
    lines = []
    monkeypatch.setattr("focalnet_d2.engine.progress.logger.info", lines.append)
    with EventStorage(4) as storage:
        storage.put_scalars(**with_old_log_names({"loss_centerness": 0.5}))
        ProgressPrinter(max_iter=10).write()
    assert lines == ["iteration 5/10  loss_centerness 0.5"]


def save_to(folder, model, period, **options):
    return PeriodicCheckpoint(make_state(model), folder, period, **options)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_of_more_iterations_are_neither_deleted_nor_counted(tmp_path):
    """The run went back to an earlier checkpoint."""
    for number in (40, 80):
        (tmp_path / f"model_{number:07d}.pth").touch()
    model = Toy()
    make_trainer(model, [save_to(tmp_path, model, 2, keep=1)]).train(0, 5)
    kept = ["model_0000004.pth", "model_0000040.pth", "model_0000080.pth"]
    assert names_in(tmp_path) == ["last_checkpoint", *kept, "model_final.pth"]


class Exploding(Toy):
    """The step of the given iteration leaves weights with which the loss is not finite."""

    def __init__(self, iteration):
        super().__init__()
        self.iteration = iteration

    def forward(self, batch):
        loss = super().forward(batch)["loss_a"] ** 2
        return {"loss_a": loss * 1e12 if torch.is_grad_enabled() and self.count == self.iteration + 1 else loss}


def test_a_checkpoint_of_exploded_weights_is_set_aside(tmp_path):
    model = Exploding(3)
    trainer = make_trainer(model, [save_to(tmp_path, model, 2, keep=1)])
    trainer.output_dir = tmp_path
    with pytest.raises(NonFiniteError) as error:
        trainer.train(0, 9)
    message = str(error.value)
    assert "loss_a, at iteration 4" in message
    assert "model_0000004.pth has the weights that gave them and is now named model_0000004.suspect.pth" in message
    assert "--resume goes on from model_0000002.pth" in message
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000002.pth"
    saved = torch.load(tmp_path / "model_0000002.pth", weights_only=True)["model"]["weight"]
    assert saved.square().sum().isfinite()


def test_an_only_checkpoint_of_exploded_weights_is_no_longer_the_last(tmp_path):
    model = Exploding(1)
    trainer = make_trainer(model, [save_to(tmp_path, model, 2)])
    trainer.output_dir = tmp_path
    with pytest.raises(NonFiniteError, match="there is no earlier checkpoint"):
        trainer.train(0, 9)
    assert names_in(tmp_path) == ["model_0000002.suspect.pth", NAN_REPORT]


def test_a_checkpoint_before_the_exploding_step_stays(tmp_path):
    model = Exploding(2)
    trainer = make_trainer(model, [save_to(tmp_path, model, 2)])
    trainer.output_dir = tmp_path
    with pytest.raises(NonFiniteError, match=r"iteration 3.*The last checkpoint is .*model_0000002\.pth"):
        trainer.train(0, 9)
    assert names_in(tmp_path) == ["last_checkpoint", "model_0000002.pth", NAN_REPORT]


def test_exploded_weights_of_the_last_step_are_not_saved(tmp_path):
    model = Exploding(2)
    trainer = make_trainer(model, [save_to(tmp_path, model, 2)])
    trainer.output_dir = tmp_path
    with pytest.raises(NonFiniteError, match=r"step of iteration 2 left weights.*not finite: loss_a.*are not saved"):
        trainer.train(0, 3)
    assert names_in(tmp_path) == ["last_checkpoint", "model_0000002.pth", NAN_REPORT]


def test_the_look_at_the_last_weights_leaves_no_trace():
    model, before = Toy(), torch.get_rng_state()
    trainer = make_trainer(model, [])
    trainer.train(0, 2)
    drawn = []
    model.register_forward_hook(lambda *_: drawn.append(torch.rand(1)))
    trainer.check_weights()
    assert len(drawn) == 1
    assert model.count == 2
    assert torch.equal(torch.get_rng_state(), before)


class Interrupted(Toy):
    """Its process gets a signal in the second step."""

    def forward(self, batch):
        if self.count == 1:
            signal.raise_signal(signal.SIGTERM)
        return super().forward(batch)


def test_a_signal_saves_the_run_after_the_step_and_ends_it(tmp_path):
    model = Interrupted()
    trainer = make_trainer(model, [save_to(tmp_path, model, 0)])
    trainer.output_dir = tmp_path
    with pytest.raises(RunStopped, match=r"Stopped by SIGTERM after 2 iterations; --resume goes on in") as stopped:
        trainer.train(0, 9)
    assert stopped.value.exit_status == 143
    assert names_in(tmp_path) == ["last_checkpoint", "model_0000002.pth"]
    assert torch.load(tmp_path / "model_0000002.pth", weights_only=True)["model"]["count"] == 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def evaluation_with_signal(at: int):
    """An evaluation of two batches every 2 iterations, which a signal meets in its first batch after `at` of them."""

    def evaluate():
        for _ in Stoppable([1, 2], "the evaluation"):
            if model.count == at:
                signal.raise_signal(signal.SIGUSR1)
        finished.append(int(model.count))
        return {"bbox": {"AP": 1.0}}

    model, finished = Toy(), []
    return model, Evaluation(evaluate, 2, was_interrupted=True), finished


def test_a_signal_in_an_evaluation_saves_the_run_and_leaves_the_evaluation_to_the_resumed_run(tmp_path):
    model, evaluation, finished = evaluation_with_signal(2)
    trainer = make_trainer(
        model, [save_to(tmp_path, model, 3), evaluation, BestCheckpoint(evaluation, "x", None, tmp_path)]
    )
    with pytest.raises(RunStopped, match=r"Stopped by SIGUSR1 in the evaluation after 2 iterations") as stopped:
        trainer.train(0, 9)
    assert stopped.value.exit_status == 138
    assert names_in(tmp_path) == ["last_checkpoint", "model_0000002.pth"]
    assert finished == []


def test_a_signal_in_the_last_evaluation_or_one_that_is_made_up_for_changes_nothing(tmp_path):
    model, evaluation, finished = evaluation_with_signal(4)
    with pytest.raises(RunStopped, match=r"in the evaluation after 4 iterations"):
        make_trainer(model, [save_to(tmp_path, model, 0), evaluation]).train(0, 4)
    assert finished == [2]
    before = names_in(tmp_path)
    assert before == ["last_checkpoint", "model_final.pth"]
    model, evaluation, finished = evaluation_with_signal(0)
    with pytest.raises(RunStopped, match=r"in the evaluation after 2 iterations"):
        make_trainer(model, [save_to(tmp_path, model, 0), evaluation]).train(2, 4)
    assert (finished, int(model.count), names_in(tmp_path)) == ([], 0, before)


@pytest.mark.parametrize(("start", "is_made_up_for"), [(2, True), (3, False), (4, False)])
def test_an_evaluation_that_was_interrupted_is_made_up_for(start, is_made_up_for):
    seen, model = [], Toy()
    hook = Evaluation(lambda: seen.append(int(model.count)) or {"bbox": {"AP": 1.0}}, 2, was_interrupted=True)
    make_trainer(model, [hook]).train(start, 4)
    assert seen == [0] * is_made_up_for + [4 - start]


def test_results_are_written_at_once_and_every_iteration_has_one_line(tmp_path):
    evaluation = Evaluation(lambda: {"bbox": {"AP": 1.0}}, 2)
    metrics = MetricsFile(tmp_path / "metrics.json")
    make_trainer(Toy(), [evaluation, MetricsWriter(metrics, [], 3, evaluation)]).train(0, 5)
    found = {line["iteration"]: ("bbox/AP" in line, line.get("evaluated_after")) for line in read_metrics(metrics.path)}
    assert found == {1: (True, 2), 2: (False, None), 3: (True, 4), 4: (False, None), 5: (True, 5)}
    assert len(read_metrics(metrics.path)) == 5


def test_speed_is_logged_once_at_the_end_without_the_first_steps(monkeypatch):
    lines, clock = [], iter(range(0, 1000, 2))
    monkeypatch.setattr("focalnet_d2.engine.progress.logger.info", lambda text, *values: lines.append(text % values))
    monkeypatch.setattr("focalnet_d2.engine.progress.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    make_trainer(Toy(), [StepTimer(batch=4)]).train(0, 5)
    assert lines == [
        "5 iterations in 0:00:10, 2.000 s/it, 2 images/s; 0:00:12 more went to evaluations, checkpoints and files."
    ]


def test_time_left_is_never_more_than_can_be_written():
    assert str(time_left(0.5, 120)) == "0:01:00"
    assert time_left(1e9, 2**31).days == time_left(0.1, 10**20).days == 999_999_999

"""Averaged weights, evaluation and checkpoint hooks on a toy model."""

import json
from itertools import repeat

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from focalnet_d2.engine.checkpointing import RunState
from focalnet_d2.engine.hooks import BestCheckpoint, EMAHook, Evaluation, PeriodicCheckpoint, ProgressPrinter
from focalnet_d2.engine.trainer import Trainer


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
    averaged.after_step()
    averaged.after_step()
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


def run_with_scores(tmp_path, scores, state, *, start=0, metric="bbox/AP", **options):
    values = iter(scores)
    evaluation = Evaluation(lambda: {"bbox": {"AP": next(values)}}, 1)
    hooks = [evaluation, BestCheckpoint(evaluation, metric, state, tmp_path, **options)]
    make_trainer(state.model, hooks).train(start, start + len(scores))


@pytest.mark.parametrize(("largest", "value", "iteration"), [(True, 30.0, 3), (False, 5.0, 2)])
def test_best_of_a_sequence(tmp_path, largest, value, iteration):
    state = make_state(Toy())
    run_with_scores(tmp_path, [10.0, 5.0, 30.0, float("nan"), 20.0], state, largest=largest)
    assert state.best == {"metric": "bbox/AP", "value": value, "iteration": iteration}
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
    run_with_scores(tmp_path, [1.0, 2.0], make_state(Toy()), metric="segm/AP")
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
    monkeypatch.setattr("focalnet_d2.engine.hooks.logger.info", lines.append)
    with EventStorage(4) as storage:
        storage.put_scalars(loss_class=1.5, loss_class_0=9.0, loss_bbox_dn=9.0, total_loss=2.5, time=2.0)
        storage.put_scalar("lr", 1e-4, smoothing_hint=False)
        ProgressPrinter(max_iter=10).write()
    (line,) = lines
    assert line.startswith("iteration 5/10  eta 0:00:10  2.000 s/it")
    assert "loss_class 1.5" in line
    assert "lr 0.0001" in line
    assert "_0" not in line
    assert "_dn" not in line

"""What a run saves and restores."""

import json

import pytest
import torch
from torch import nn

from focalnet_d2.engine.checkpointing import RunState, resume_run, save_best, save_run
from focalnet_d2.engine.hooks import EMAHook
from focalnet_d2.engine.rng import get_rng_state, set_rng_state


class Run:
    """A linear model with momentum, a schedule, a scaler and averaged weights."""

    def __init__(self, seed=0, *, with_average=True):
        torch.manual_seed(seed)
        self.model = nn.Linear(3, 2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        self.averaged = EMAHook(self.model, 0.5) if with_average else None
        self.state = RunState(
            self.model,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            scaler=self.scaler,
            averaged=self.averaged,
            description={"recipe": "a: 1", "metadata": {"thing_classes": ["cat"]}},
        )

    def step(self):
        self.optimizer.zero_grad()
        loss = self.model(torch.randn(4, 3)).square().sum()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        if self.averaged:
            self.averaged.update()

    def everything(self):
        return [*self.model.state_dict().values(), *(self.averaged.state_dict() if self.averaged else {}).values()]


def test_a_run_goes_on_with_a_scaled_loss_that_was_not_scaled(tmp_path):
    run, other = Run(), Run()
    run.state.parts["scaler"] = torch.amp.GradScaler("cpu", enabled=False)
    save_run(tmp_path, "model_0000001.pth", run.state, 1)
    resume_run(tmp_path, other.state)
    assert other.scaler.get_scale() == 8.0


@pytest.mark.parametrize("with_average", [False, True])
def test_a_restored_run_goes_on_as_if_nothing_had_happened(tmp_path, with_average):
    run = Run(with_average=with_average)
    for _ in range(3):
        run.step()
    run.scaler.update(new_scale=2.0)
    run.state.best = {"metric": "bbox/AP", "value": 3.5, "iteration": 2}
    save_run(tmp_path, "model_0000003.pth", run.state, 3)
    for _ in range(2):
        run.step()

    other = Run(seed=9, with_average=with_average)
    iteration, rng = resume_run(tmp_path, other.state)
    set_rng_state(rng)
    assert iteration == 3
    assert other.state.best == {"metric": "bbox/AP", "value": 3.5, "iteration": 2}
    assert other.scaler.get_scale() == 2.0
    for _ in range(2):
        other.step()
    assert all(torch.equal(a, b) for a, b in zip(run.everything(), other.everything(), strict=True))
    assert run.optimizer.param_groups[0]["lr"] == other.optimizer.param_groups[0]["lr"]


def test_the_file_loads_without_pickled_code_and_has_every_part(tmp_path):
    run = Run()
    run.step()
    save_run(tmp_path, "model_final.pth", run.state, 1)
    content = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert set(content) == {
        "model", "training_model", "optimizer", "scheduler", "scaler", "iteration", "rng", "best", "recipe", "metadata",
        "skipped",
    }  # fmt: skip
    assert torch.equal(content["model"]["weight"], run.averaged.average["weight"])
    assert torch.equal(content["training_model"]["weight"], run.model.weight)
    assert set(content["rng"][0]) >= {"python", "numpy", "torch"}


def test_a_crash_while_saving_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    run = Run()
    save_run(tmp_path, "model_0000001.pth", run.state, 1)

    def broken(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        save_run(tmp_path, "model_0000002.pth", run.state, 2)
    assert resume_run(tmp_path, Run(5).state)[0] == 1


def test_best_found_after_the_last_checkpoint_is_not_forgotten(tmp_path):
    run = Run()
    save_run(tmp_path, "model_0000002.pth", run.state, 2)
    run.state.best = {"metric": "bbox/AP", "value": 8.0, "iteration": 2}
    save_best(tmp_path, "model_best.pth", run.state)
    other = Run(4)
    resume_run(tmp_path, other.state)
    assert other.state.best["value"] == 8.0
    (tmp_path / "best.json").write_text(json.dumps({"metric": "bbox/AP", "value": 9.0, "iteration": 7}))
    resume_run(tmp_path, other.state)
    assert other.state.best is None  # found later than where the run goes on


def test_nothing_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match="--resume found no checkpoint"):
        resume_run(tmp_path, Run().state)


def test_truncated_and_foreign_checkpoints_are_refused(tmp_path):
    run = Run()
    save_run(tmp_path, "model_final.pth", run.state, 1)
    path = tmp_path / "model_final.pth"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(ValueError, match="model_final"):
        resume_run(tmp_path, Run().state)
    torch.save({"model": run.model.state_dict()}, path)
    with pytest.raises(ValueError, match=r"model_final.*optimizer.*train\.init_checkpoint"):
        resume_run(tmp_path, Run().state)


def test_a_run_does_not_go_on_with_other_classes_and_stays_as_it_was(tmp_path):
    save_run(tmp_path, "model_final.pth", Run().state, 1)
    other = Run(4)
    before = other.model.weight.clone()
    other.state.description["metadata"]["thing_classes"] = ["dog"]
    with pytest.raises(
        ValueError, match=r"model_final\.pth: it was trained on the classes cat, and the data has dog now"
    ):
        resume_run(tmp_path, other.state)
    assert other.model.weight.equal(before)


def test_other_number_of_processes_gets_no_random_state(tmp_path):
    run = Run()
    content = run.state.state_dict(4)
    content["rng"] = [get_rng_state(), get_rng_state()]
    torch.save(content, tmp_path / "two.pth")
    (tmp_path / "last_checkpoint").write_text("two.pth")
    assert resume_run(tmp_path, Run().state) == (4, None)

"""The scoped route of matrix products: when it is taken, that it is put back, and that it reaches the runs."""

import json
from dataclasses import asdict

import pytest
import torch
from detectron2.evaluation import DatasetEvaluators
from detectron2.utils.events import EventStorage
from torch import nn

from focalnet_d2.engine.evaluation_loop import run_evaluation
from focalnet_d2.engine.trainer import Trainer
from focalnet_d2.kernels import cpu_matmul
from focalnet_d2.kernels.cpu_matmul import Choice, decide, fast_cpu_matmul


def precision() -> str:
    """torch's setting, by either of its names."""
    backend = torch.backends.mkldnn
    return backend.matmul.fp32_precision if hasattr(backend, "matmul") else torch.get_float32_matmul_precision()


@pytest.fixture
def onednn(monkeypatch):
    """A machine whose probe has chosen oneDNN."""
    monkeypatch.setattr(cpu_matmul, "choice", lambda: Choice(True, "for the test"))


@pytest.mark.parametrize(
    ("default", "onednn", "taken"),
    [
        ((2.0, 4e-7), (1.0, 8e-7), True),
        ((2.0, 4e-7), (1.0, 2e-3), False),  # bf16
        ((1.1, 4e-7), (1.0, 4e-7), False),
        ((1.0, 4e-7), (2.0, 4e-7), False),
    ],
)
def test_choice_needs_float32_and_a_clear_gain(default, onednn, taken):
    found = decide(*default, *onednn)
    assert found.use_onednn is taken
    assert found.reason


def test_probe_leaves_the_setting_and_the_random_numbers_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where nothing is kept
    before, state = precision(), torch.get_rng_state()
    found = cpu_matmul.choice.__wrapped__()
    assert precision() == before
    assert torch.get_rng_state().equal(state)
    assert isinstance(found.use_onednn, bool)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
def test_the_choice_is_kept_for_other_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = cpu_matmul.choice.__wrapped__()
    (file,) = tmp_path.rglob("cpu_matmul-*.json")
    opposite = Choice(not first.use_onednn, "kept")
    file.write_text(json.dumps(asdict(opposite)))
    assert cpu_matmul.choice.__wrapped__() == opposite
    for damaged in ("", "{}", '{"use_onednn": 1, "reason": "x"}', "[]"):
        file.write_text(damaged)
        assert cpu_matmul.choice.__wrapped__() != opposite  # probed again, and kept again
        assert json.loads(file.read_text())["reason"]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
def test_a_cache_folder_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "focalnet_d2").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cpu_matmul.choice.__wrapped__().reason


@pytest.mark.usefixtures("onednn")
def test_setting_is_there_inside_only():
    before = precision()
    with fast_cpu_matmul("cpu"):
        assert precision() != before
        with fast_cpu_matmul("cpu"):
            pass
        assert precision() != before
    assert precision() == before
    with pytest.raises(KeyError), fast_cpu_matmul(torch.device("cpu")):
        raise KeyError
    assert precision() == before


@pytest.mark.usefixtures("onednn")
def test_other_devices_are_left_alone():
    before = precision()
    with fast_cpu_matmul("cuda:0"):
        assert precision() == before


def test_machines_without_a_gain_are_left_alone(monkeypatch):
    monkeypatch.setattr(cpu_matmul, "choice", lambda: Choice(False, "for the test"))
    before = precision()
    with fast_cpu_matmul("cpu"):
        assert precision() == before


class Watching(nn.Module):
    """A model of losses, or of nothing, that notes the setting in forward and backward."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen = []

    def forward(self, batch):
        self.seen.append(precision())
        if not self.training:
            return [{} for _ in batch]
        loss = self.weight.sum()
        loss.register_hook(lambda _: self.seen.append(precision()))
        return {"loss": loss}


@pytest.mark.usefixtures("onednn")
def test_training_step_has_it_in_both_passes(tmp_path):
    model, before = Watching(), precision()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    trainer = Trainer(model, [[{}]], optimizer, device=torch.device("cpu"), output_dir=tmp_path)
    with EventStorage() as trainer.storage:
        trainer.run_step()
    assert len(model.seen) == 2
    assert before not in model.seen
    assert precision() == before


@pytest.mark.usefixtures("onednn")
def test_evaluation_has_it():
    model, before = Watching(), precision()
    run_evaluation(model, [[{}]] * 2, DatasetEvaluators([]))
    assert len(model.seen) == 2
    assert before not in model.seen
    assert precision() == before


def test_products_and_gradients_are_those_of_float32():
    x, layer = torch.linspace(-1, 1, 64 * 48).view(64, 48).sin().requires_grad_(), nn.Linear(48, 80)

    def results():
        y = layer(x)
        return [y.detach(), *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])]

    expected = results()
    with fast_cpu_matmul("cpu"):
        found = results()
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(a.abs().max()))

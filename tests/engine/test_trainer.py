"""The loop on toy models: accumulation, precision, clipping, what happens when a number is not finite."""

import json
import math
from itertools import cycle

import pytest
import torch
from detectron2.structures import Instances
from torch import nn

from focalnet_d2.engine.accumulation import EqualWeights, ObjectWeights, split_batch
from focalnet_d2.engine.trainer import NAN_REPORT, NonFiniteError, Trainer

CPU = torch.device("cpu")


class MeanSquares(nn.Module):
    """Two losses, means over the samples."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, batch):
        x = torch.stack([sample["image"] for sample in batch])
        error = self.linear(x) - x.sum(1, keepdim=True)
        return {"loss_square": error.square().mean(), "loss_abs": 0.5 * error.abs().mean()}


class SumOverObjects(MeanSquares):
    """A loss that is a sum over the samples divided by the number of objects, at least 1."""

    def forward(self, batch):
        x = torch.stack([sample["image"] for sample in batch])
        count = sum(len(sample["instances"]) for sample in batch)
        return {"loss_class": self.linear(x).square().sum() / max(count, 1)}


def make_batch(size=8, objects=(0, 3, 1, 0, 0, 0, 2, 5)):
    return [
        {"image": torch.randn(3), "file_name": f"{i}.png", "instances": Instances((4, 4), gt_classes=torch.zeros(n))}
        for i, n in zip(range(size), objects)
    ]


def make_trainer(model, batches, tmp_path, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Trainer(model, cycle(batches), optimizer, device=CPU, output_dir=tmp_path, **options)


def train_copy(model_type, batches, tmp_path, steps=3, **options):
    torch.manual_seed(3)
    trainer = make_trainer(model_type(), batches, tmp_path, **options)
    trainer.train(0, steps)
    return trainer


def weights_of(trainer):
    return torch.cat([value.flatten() for value in trainer.network.state_dict().values()])


@pytest.mark.parametrize("parts", [2, 4, 8])
@pytest.mark.parametrize(
    ("model_type", "microbatch_weights"), [(MeanSquares, EqualWeights()), (SumOverObjects, ObjectWeights())]
)
def test_accumulation_equals_the_whole_batch(model_type, microbatch_weights, parts, tmp_path):
    batches = [make_batch(), make_batch()]
    whole = train_copy(model_type, batches, tmp_path)
    pieces = train_copy(model_type, batches, tmp_path, accumulation=parts, microbatch_weights=microbatch_weights)
    torch.testing.assert_close(weights_of(pieces), weights_of(whole), rtol=1e-5, atol=1e-6)
    for name, (value, _) in whole.storage.latest().items():
        if "loss" in name:
            assert pieces.storage.latest()[name][0] == pytest.approx(value, rel=1e-5)


def test_equal_weights_would_be_wrong_for_losses_per_object(tmp_path):
    batches = [make_batch()]
    whole = train_copy(SumOverObjects, batches, tmp_path)
    pieces = train_copy(SumOverObjects, batches, tmp_path, accumulation=4, microbatch_weights=EqualWeights())
    assert not torch.allclose(weights_of(pieces), weights_of(whole), rtol=1e-3)


def test_batch_that_cannot_be_cut():
    assert [len(part) for part in split_batch(make_batch(), 4)] == [2, 2, 2, 2]
    with pytest.raises(ValueError, match=r"train\.accumulation=3 must divide the 8 images"):
        split_batch(make_batch(), 3)


def test_one_step_is_plain_gradient_descent(tmp_path):
    batch = make_batch()
    torch.manual_seed(3)
    reference = MeanSquares()
    sum(reference(batch).values()).backward()
    expected = {name: value - 0.1 * value.grad for name, value in reference.named_parameters()}
    trainer = train_copy(MeanSquares, [batch], tmp_path, steps=1)
    for name, value in trainer.network.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name].detach())


def test_clipping_bounds_the_norm_of_all_gradients(tmp_path):
    torch.manual_seed(3)
    model = MeanSquares()
    start = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    trainer = make_trainer(model, [make_batch()], tmp_path, clip_norm=0.01)
    trainer.train(0, 1)
    moved = weights_of(trainer) - start
    assert trainer.storage.latest()["grad_norm"][0] > 0.1  # logged before clipping
    assert moved.norm().item() == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_metrics_hold_each_loss_and_their_sum(tmp_path):
    latest = train_copy(MeanSquares, [make_batch()], tmp_path, steps=1).storage.latest()
    total = latest["loss_square"][0] + latest["loss_abs"][0]
    assert latest["total_loss"][0] == pytest.approx(total)
    assert latest["data_time"][0] >= 0


def test_bf16_covers_the_whole_forward_and_keeps_float32_weights(tmp_path):
    seen = []

    class Watching(MeanSquares):
        def forward(self, batch):
            seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
            return super().forward(batch)

    trainer = train_copy(Watching, [make_batch()], tmp_path, steps=1, amp_dtype=torch.bfloat16)
    assert seen == [(True, torch.bfloat16)]
    full = train_copy(MeanSquares, [make_batch()], tmp_path, steps=1)
    assert weights_of(trainer).dtype is torch.float32
    assert not torch.equal(weights_of(trainer), weights_of(full))


class Spoilt(MeanSquares):
    """Its second loss is not finite from the third iteration on."""

    value = math.nan

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, batch):
        losses = super().forward(batch)
        self.calls += 1
        if self.calls >= 3:
            losses["loss_abs"] = losses["loss_abs"] * self.value
        return losses


class Overflowing(Spoilt):
    value = math.inf


@pytest.mark.parametrize("model_type", [Spoilt, Overflowing])
def test_a_loss_that_is_not_finite_stops_before_any_weight_changes(model_type, tmp_path):
    batches = [make_batch()]
    good = train_copy(MeanSquares, batches, tmp_path, steps=2)
    torch.manual_seed(3)
    trainer = make_trainer(model_type(), batches, tmp_path)
    with pytest.raises(NonFiniteError) as error:
        trainer.train(0, 10)
    message = str(error.value)
    assert "loss_abs" in message
    assert "loss_square" not in message
    assert "iteration 2" in message
    assert "3.png" in message
    torch.testing.assert_close(weights_of(trainer), weights_of(good))
    report = json.loads((tmp_path / NAN_REPORT).read_text())
    assert report["iteration"] == 2
    assert report["terms"] == ["loss_abs"]
    assert report["files"] == [f"{i}.png" for i in range(8)]


class BadGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * math.inf


def test_a_gradient_that_is_not_finite_names_its_parameter(tmp_path):
    class Model(MeanSquares):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, batch):
            losses = super().forward(batch)
            return losses | {"loss_square": losses["loss_square"] + BadGradient.apply(self.scale).sum()}

    trainer = make_trainer(Model(), [make_batch()], tmp_path, clip_norm=1.0)
    before = weights_of(trainer).clone()
    with pytest.raises(NonFiniteError, match="gradients of scale are not finite, at iteration 0"):
        trainer.train(0, 1)
    assert torch.equal(weights_of(trainer), before)


def test_fp16_skips_a_step_that_overflows_and_lowers_the_scale(tmp_path):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4)

    class Model(MeanSquares):
        def forward(self, batch):
            losses = super().forward(batch)
            return losses | {"loss_square": BadGradient.apply(losses["loss_square"])}

    trainer = make_trainer(Model(), [make_batch()], tmp_path, scaler=scaler, clip_norm=0.1)
    before = weights_of(trainer).clone()
    trainer.train(0, 1)
    assert torch.equal(weights_of(trainer), before)
    assert scaler.get_scale() == 2.0**3


def test_scaling_alone_changes_nothing(tmp_path):
    batches = [make_batch()]
    plain = train_copy(MeanSquares, batches, tmp_path, clip_norm=0.5)
    scaled = train_copy(
        MeanSquares, batches, tmp_path, clip_norm=0.5, scaler=torch.amp.GradScaler("cpu", init_scale=8.0)
    )
    torch.testing.assert_close(weights_of(scaled), weights_of(plain))

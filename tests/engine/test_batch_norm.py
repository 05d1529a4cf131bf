"""Synchronized batch norms on a CPU in one process."""

import pytest
import torch
from torch import nn

from focalnet_d2.engine.batch_norm import SyncBatchNormAnywhere, synchronize_anywhere


def norms(**settings) -> tuple[nn.Module, nn.Module]:
    """torch's plain one, and ours made of a synchronized one; equal weights."""
    torch.manual_seed(0)
    plain, model = nn.BatchNorm2d(5, **settings), nn.Sequential(nn.SyncBatchNorm(5, **settings))
    if plain.affine:
        for name in ("weight", "bias"):
            nn.init.normal_(getattr(plain, name))
    model[0].load_state_dict(plain.state_dict())
    synchronize_anywhere(model)
    return plain, model[0]


@pytest.mark.parametrize("settings", [{}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}])
@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 5, 1, 2)])
def test_it_computes_what_torch_does(settings, shape):
    plain, ours = norms(**settings)
    for _ in range(2):
        values = torch.randn(shape) * 3 + 100
        results, gradients = [], []
        for module in (plain, ours):
            one = values.clone().requires_grad_()
            results.append(module(one))
            results[-1].sin().sum().backward()
            gradients.append(one.grad)
        torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-4)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-4)
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(dict(ours.named_parameters())[name].grad, weight.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("settings", [{}, {"track_running_stats": False}])
def test_evaluation_is_torchs(settings):
    plain, ours = norms(**settings)
    values = torch.randn(2, 5, 3, 4)
    assert torch.equal(ours.eval()(values), plain.eval()(values))


def test_parameters_and_hooks_stay():
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.SyncBatchNorm(5))
    weight, called = model[1].weight, []
    model[1].register_forward_pre_hook(lambda *_: called.append(1))
    synchronize_anywhere(model)
    assert type(model[1]) is SyncBatchNormAnywhere
    assert model[1].weight is weight
    model(torch.zeros(2, 3, 2, 2))
    assert called == [1]


def test_half_precision_stays():
    _, ours = norms()
    assert ours(torch.randn(2, 5, 3, 4).bfloat16()).dtype is torch.bfloat16

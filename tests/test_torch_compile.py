"""`torch.compile` of backbone and encoder: one graph, not one for each image size, and the numbers of eager mode."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from focalnet_d2.layers import deformable_attention
from focalnet_d2.layers.deformable_encoder import DeformableEncoder
from focalnet_d2.modeling.focalnet import FocalNet


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing is known from other compilations."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def assert_one_graph_for_all_sizes(module: nn.Module, call: Callable, inputs: Sequence, *, train: bool) -> None:
    """Outputs and gradients are those of eager mode; `fullgraph` raises where the graph breaks.

    The first size is compiled for itself, the second for all others.
    """
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module.train(train), fullgraph=True, backend=counter)
    for one in inputs:
        for expected, found in zip(results(call, module, one), results(call, compiled, one), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert counter.frame_count <= 2


def results(call: Callable, module: nn.Module, inputs: object) -> list[Tensor]:
    """Outputs, and in training the gradients of their mean square."""
    with torch.set_grad_enabled(module.training):
        outputs = call(module, inputs)
    if not module.training:
        return outputs
    loss = sum(output.square().mean() for output in outputs)
    return [*(output.detach() for output in outputs), *torch.autograd.grad(loss, list(module.parameters()))]


@pytest.mark.parametrize("train", [False, True])
def test_backbone(train):
    """The second window is one whose weight gradient has a form of its own on a CPU."""
    backbone = FocalNet(8, depths=(1, 1), focal_levels=(2, 1), focal_windows=(3, 9), out_features=("res2", "res3"))
    images = [torch.randn(1, 3, height, width) for height, width in ((64, 96), (96, 128), (70, 99))]
    assert_one_graph_for_all_sizes(backbone, lambda model, x: list(model(x).values()), images, train=train)


@pytest.mark.parametrize(
    ("form", "train"), [("compiled", True), ("table_lookup", False), ("table_lookup", True), ("grid_sample", True)]
)
def test_encoder(form, train, monkeypatch):
    forms = [one for one in deformable_attention.IMPLEMENTATIONS if one.name == form]
    if reason := forms[0].obstacle():
        pytest.skip(reason)
    monkeypatch.setattr(deformable_attention, "IMPLEMENTATIONS", forms)
    encoder = DeformableEncoder(16, num_layers=1, num_levels=2, num_heads=2, num_points=2, ffn_dim=16)
    pyramids = [[(8, 12), (4, 6)], [(12, 16), (6, 8)], [(9, 13), (5, 7)]]

    def call(model: nn.Module, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
        draws = torch.Generator().manual_seed(0)
        tokens, position = torch.randn(2, 1, sum(h * w for h, w in shapes), 16, generator=draws).unbind()
        padding_mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
        return [model(tokens, position, shapes, torch.ones(1, 2, 2), padding_mask)]

    assert_one_graph_for_all_sizes(encoder, call, pyramids, train=train)

"""`torch.compile`: one graph, not one for each image size, and the numbers of eager mode."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor, fx, nn
from torch._dynamo.testing import CompileCounterWithBackend

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION
from focalnet_d2.layers.deformable_encoder import DeformableEncoder
from focalnet_d2.modeling.base import ImageBatch
from tests.dino.building import tiny_dino
from tests.mask2former.building import build_mask2former, tiny_backbone


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing is known from other compilations."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def assert_one_graph_for_all_sizes(module: nn.Module, call: Callable, inputs: Sequence) -> None:
    """Outputs and gradients are those of eager mode; `fullgraph` raises where the graph breaks."""
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module.train(), fullgraph=True, backend=counter)
    for one in inputs:
        for expected, found in zip(results(call, module, one), results(call, compiled, one), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert counter.frame_count <= 2  # the first size for itself, the second for all others


def results(call: Callable, module: nn.Module, inputs: object) -> list[Tensor]:
    """Outputs, and the gradients of their mean square."""
    outputs = call(module, inputs)
    loss = sum(output.square().mean() for output in outputs)
    return [*(output.detach() for output in outputs), *torch.autograd.grad(loss, list(module.parameters()))]


def test_backbone():
    """The second stage's window is one whose weight gradient has an implementation of its own on a CPU."""
    backbone = FocalNet(8, depths=(1, 1), focal_levels=(2, 1), focal_windows=(3, 9), out_features=("res2", "res3"))
    images = [torch.randn(1, 3, height, width) for height, width in ((64, 96), (96, 128), (70, 99))]
    assert_one_graph_for_all_sizes(backbone, lambda model, x: list(model(x).values()), images)


@pytest.mark.parametrize("implementation", [one.name for one in DEFORMABLE_ATTENTION.available("cpu")])
def test_encoder(implementation):
    encoder = DeformableEncoder(16, num_layers=1, num_levels=2, num_heads=2, num_points=2, ffn_dim=16)

    def call(model: nn.Module, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
        draws = torch.Generator().manual_seed(0)
        tokens, position = torch.randn(2, 1, sum(h * w for h, w in shapes), 16, generator=draws).unbind()
        padding_mask = torch.zeros(tokens.shape[:2], dtype=torch.bool)
        return [model(tokens, position, shapes, torch.ones(1, 2, 2), padding_mask)]

    with DEFORMABLE_ATTENTION.only(implementation):
        assert_one_graph_for_all_sizes(encoder, call, [[(8, 12), (4, 6)], [(12, 16), (6, 8)], [(9, 13), (5, 7)]])


HOST = (torch.tensor, torch.as_tensor, "new_tensor", "item", "tolist", "cpu")  # make or read tensors of the host


def without_the_host(graph: fx.GraphModule, inputs: Sequence[Tensor]) -> Callable:
    """A backend that runs the graph as it is, if it could be a CUDA graph."""
    assert not [node for node in graph.graph.nodes if node.target in HOST]
    return graph.forward


@pytest.mark.parametrize("name", ["dino", "mask2former"])
def test_network_between_images_and_predictions(name):
    """All that a model does between `preprocess` and the selection of its results."""
    model = tiny_dino() if name == "dino" else build_mask2former(tiny_backbone(), layers=(1, 2))
    images = ImageBatch.without_padding(torch.randn(1, 3, 64, 96))
    predict = torch.compile(model.eval().predict, fullgraph=True, backend=without_the_host, dynamic=False)
    with torch.no_grad():
        torch.testing.assert_close(predict(images), model.predict(images), rtol=1e-4, atol=1e-5)

"""The forms that `gpu.py` compares: plain statements, what the library takes, the Triton kernels, CUDA graphs."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
from plain_focalnet import plain_levels, plain_modulation
from torch import Tensor

from focalnet_d2.backbone.focalnet import FocalModulation, FocalNet
from focalnet_d2.kernels import focal_context as context_seam
from focalnet_d2.layers import deformable_attention as attention_seam


@contextmanager
def taking(attention: str, context: str) -> Iterator[None]:
    """A block in which the two seams know one form each."""
    chosen = [
        patch.object(seam, "IMPLEMENTATIONS", [form for form in seam.IMPLEMENTATIONS if form.name == name])
        for seam, name in ((attention_seam, attention), (context_seam, context))
    ]
    serves = [patch.object(context_seam, "available_implementations", lambda *_: context_seam.IMPLEMENTATIONS)]
    serves += [patch.object(attention_seam, "available_implementations", lambda *_: attention_seam.IMPLEMENTATIONS)]
    for one in (*chosen, *serves):
        one.start()
    try:
        yield
    finally:
        for one in (*chosen, *serves):
            one.stop()


@contextmanager
def network_form(name: str) -> Iterator[None]:
    """A block in which FocalNets and deformable attention take "plain", "library" or "triton"."""
    if name == "plain":
        with patch.object(FocalModulation, "forward", plain_modulation), taking("grid_sample", "plain"):
            yield
    elif name == "triton":
        with taking("triton", "triton"):
            yield
    else:
        with patch.dict(os.environ, {"FOCALNET_D2_TRITON": "0"}):
            yield


def in_form(name: str, function: Callable[[], list[Tensor]]) -> list[Tensor]:
    """`function()` in `network_form(name)`."""
    with network_form(name):
        return function()


def plain_context(context: Tensor, gates: Tensor, *kernels: Tensor) -> tuple[Tensor, Tensor]:
    """The focal context channels first, with the copies that this takes."""
    gathered, last = plain_levels(*(x.permute(0, 3, 1, 2).contiguous() for x in (context, gates)), kernels)
    return gathered.permute(0, 2, 3, 1).contiguous(), last.mean((2, 3))


def seam_context(form: str, context: Tensor, gates: Tensor, *kernels: Tensor) -> tuple[Tensor, Tensor]:
    """The focal context by a form of the library."""
    return context_seam.focal_context(context, gates, kernels, form)


def context_forward(function: Callable, leaves: Sequence[Tensor]) -> Sequence[Tensor]:
    """Results only."""
    with torch.no_grad():
        return function(*leaves)


def context_training(function: Callable, leaves: Sequence[Tensor]) -> Sequence[Tensor]:
    """Gradients of everything."""
    results = function(*leaves)
    return torch.autograd.grad(results, leaves, [torch.ones_like(result) for result in results])


def graphed(function: Callable[[], list[Tensor]]) -> Callable[[], list[Tensor]]:
    """The function as a CUDA graph, which starts all its kernels at once."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function()

    def replay() -> list[Tensor]:
        graph.replay()
        return outputs

    return replay


def vivid(network: FocalNet) -> FocalNet:
    """The network with weights under which every block changes its input, so that differences mean something."""
    for name, parameter in network.named_parameters():
        if parameter.ndim == 2:
            torch.nn.init.xavier_uniform_(parameter)
        elif "gamma" in name:
            torch.nn.init.ones_(parameter)
    return network.eval()

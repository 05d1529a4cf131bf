"""The graph of a model that other runtimes run: images and their sizes in, tensors by name out.

There are two tracers, chosen by measurement on a mini DINO whose batch, height and width stay open:

- ONNX and TorchScript come from the TorchScript tracer (`torch.jit.trace`, `torch.onnx.export(dynamo=False)`). It
  writes sizes as operators of the graph and needs 3 seconds. What is not written so is kept as it was in the traced
  example without an error: sizes asked for by `len`, `Tensor.split(sizes)`, `Tensor.unflatten`. So a written file is
  compared with its model at another size before it is given to anyone.
- `torch.export` reasons about sizes with sympy: it needs minutes for the same model, and twice that for the ONNX file
  of its program. It makes the .pt2 files, which nothing else makes.

Shapes: B images, H x W pixels of the padded batch.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from focalnet_d2.kernels.dispatch import portable_operators
from focalnet_d2.kernels.linear import FEED_FORWARD

from .onnx_loops import stack_results_of_loops

INPUTS = ("images", "image_sizes")
ONNX_OPSET = 20  # the first with the exact GELU as one operator

_OPEN_AXES = {"images": {0: "batch", 2: "height", 3: "width"}, "image_sizes": {0: "batch"}}


class ExportedNetwork(nn.Module):
    """A model in evaluation mode as a function of tensors (`ImageModel.export_forward`)."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, image_sizes: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) RGB in 0..255 and (B, 2) int64 heights and widths -> tensors by name."""
        return cast(Any, self.model).export_forward(images, image_sizes)


class _TupleNetwork(ExportedNetwork):
    def forward(self, images: Tensor, image_sizes: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """(B, 3, H, W) and (B, 2) -> the tensors of `ExportedNetwork`, which this tracer takes without names."""
        return tuple(super().forward(images, image_sizes).values())


def trace(model: nn.Module, batch_size: int, size: tuple[int, int], *, dynamic: bool) -> torch.export.ExportedProgram:
    """The graph of a model in evaluation mode on the CPU, of portable operators.

    Args:
        batch_size, size: images and (height, width) that it is traced with.
        dynamic: the graph takes any number and size of images, not only these.
    """
    auto = torch.export.Dim.AUTO
    shapes = {"images": {0: auto, 2: auto, 3: auto}, "image_sizes": {0: auto}} if dynamic else None
    with _tracing():
        return torch.export.export(
            ExportedNetwork(model), example_inputs(model, batch_size, size), dynamic_shapes=shapes, strict=False
        )


def trace_script(model: nn.Module, batch_size: int, size: tuple[int, int]) -> torch.jit.ScriptModule:
    """The graph of a model in evaluation mode on the CPU as TorchScript; it returns a tuple (see `output_names`).

    It takes any number and size of images; `batch_size` and `size` are what it is traced with.
    """
    with _tracing(), _without_tracer_warnings():
        network = _TupleNetwork(model).eval()
        return cast(
            torch.jit.ScriptModule, torch.jit.trace(network, example_inputs(model, batch_size, size), check_trace=False)
        )


def write_onnx(
    model: nn.Module, path: Path, batch_size: int, size: tuple[int, int], *, dynamic: bool, loops: bool = False
) -> None:
    """Writes the graph of a model in evaluation mode on the CPU as ONNX file, without metadata.

    Args:
        batch_size, size: images and (height, width) that it is traced with.
        dynamic: the file takes any number and size of images, not only these.
        loops: feed-forward networks are loops over some rows: faster in onnxruntime, whose passes over their hidden
            values stay in the cache, slower in OpenVINO, and not for 8-bit integers.
    """
    names = output_names(model, batch_size, size)
    axes = {**_OPEN_AXES, **{name: {0: "batch"} for name in names}} if dynamic else None
    with _tracing(), _without_tracer_warnings(), FEED_FORWARD.only("in_loop" if loops else "by_layers"):
        torch.onnx.export(
            _TupleNetwork(model).eval(),
            example_inputs(model, batch_size, size),
            path,
            dynamo=False,
            opset_version=ONNX_OPSET,
            input_names=list(INPUTS),
            output_names=names,
            dynamic_axes=axes,
        )
    stack_results_of_loops(Path(path))


@contextmanager
def _tracing() -> Iterator[None]:
    """Without gradients, and of portable operators only: torch's own attention in one operator is none."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), portable_operators():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


@contextmanager
def _without_tracer_warnings() -> Iterator[None]:
    """The tracer warns of every check of shapes; what it kept of the example is found by comparing at other sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # pyright: ignore[reportPrivateImportUsage]
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(torch|focalnet_d2\.export)\.")
        warnings.filterwarnings("ignore", message="Constant folding - ")  # it stays an operator
        yield


def channels_of(model: nn.Module) -> int:
    """How many channels the images of a model have."""
    return len(cast(Any, model).pixel_mean)


def example_inputs(model: nn.Module, batch_size: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Black images (B, C, H, W) of a model without padding, and their sizes (B, 2)."""
    return torch.zeros(batch_size, channels_of(model), *size), torch.tensor([size] * batch_size)


def output_names(model: nn.Module, batch_size: int, size: tuple[int, int]) -> list[str]:
    """Names of the tensors that the graph returns, in their order."""
    with _tracing():
        return list(ExportedNetwork(model)(*example_inputs(model, batch_size, size)))

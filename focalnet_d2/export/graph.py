"""The graph of a model that other runtimes run: images and their sizes in, tensors by name out.

Shapes: B images, H x W pixels of the padded batch.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from focalnet_d2.kernels.dispatch import portable_operators

INPUTS = ("images", "image_sizes")


class ExportedNetwork(nn.Module):
    """A model in evaluation mode as a function of tensors (`ImageModel.export_forward`)."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, image_sizes: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) RGB in 0..255 and (B, 2) int64 heights and widths -> tensors by name."""
        return cast(Any, self.model).export_forward(images, image_sizes)


def trace(model: nn.Module, batch_size: int, size: tuple[int, int], *, dynamic: bool) -> torch.export.ExportedProgram:
    """The graph of a model in evaluation mode on the CPU, of portable operators.

    Args:
        batch_size, size: images and (height, width) that it is traced with.
        dynamic: the graph takes any number and size of images, not only these.
    """
    auto = torch.export.Dim.AUTO
    shapes = {"images": {0: auto, 2: auto, 3: auto}, "image_sizes": {0: auto}} if dynamic else None
    with torch.no_grad(), portable_operators():
        return torch.export.export(
            ExportedNetwork(model), example_inputs(batch_size, size), dynamic_shapes=shapes, strict=False
        )


def example_inputs(batch_size: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Black images (B, 3, H, W) without padding, and their sizes (B, 2)."""
    return torch.zeros(batch_size, 3, *size), torch.tensor([size] * batch_size)


def output_names(model: nn.Module, batch_size: int, size: tuple[int, int]) -> list[str]:
    """Names of the tensors that the graph returns, in their order."""
    with torch.no_grad(), portable_operators():
        return list(ExportedNetwork(model)(*example_inputs(batch_size, size)))

"""A module with a fault, for recipes of tests."""

import torch
from torch import Tensor

from focalnet_d2.layers.position_encoding import SinePositionEncoding


class FailingEncoding(SinePositionEncoding):
    """Gives NaN from its sixth call on, in the second step of a tiny DINO."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, padding_mask: Tensor, *args, **kwargs) -> Tensor:
        self.calls += 1
        return super().forward(padding_mask, *args, **kwargs) + (torch.zeros(()) / (self.calls < 6))

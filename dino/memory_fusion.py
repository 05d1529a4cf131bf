"""The encoder's memory put together from what goes into the encoder and what its layers make of it.

Stable-DINO (arXiv:2304.13027, section 4): a backbone that was trained well serves as it is at the start of training,
when the encoder is still random.
"""

from typing import Literal

import torch
from torch import Tensor, nn


class MemoryFusion(nn.Module):
    """One linear layer over the channels of several stages of the memory, and a norm.

    Args:
        dim: channels C.
        num_layers: encoder layers L.
        sources: "all" fuses the encoder's input and the output of every layer (dense fusion); "ends" fuses the memory
            and the encoder's input (simple fusion). For a single layer both fuse the same in another order, so that
            weights of one serve the other with their two halves exchanged.
        norm: whether a layer norm follows.
        start_from_memory: allows loading a file without a fusion; it then starts as `passing_memory` says.

    Raises:
        ValueError: other sources.
    """

    def __init__(
        self,
        dim: int = 256,
        *,
        num_layers: int = 6,
        sources: Literal["all", "ends"] = "all",
        norm: bool = True,
        start_from_memory: bool = False,
    ):
        super().__init__()
        if sources not in ("all", "ends"):
            raise ValueError(f"sources of the memory fusion are {sources!r}: type all or ends.")
        self.sources = sources
        self.start_from_memory = start_from_memory
        self.linear = nn.Linear(dim * (num_layers + 1 if sources == "all" else 2), dim)
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @property
    def has_norm(self) -> bool:
        """Whether a layer norm follows the linear layer."""
        return isinstance(self.norm, nn.LayerNorm)

    def forward(self, *stages: Tensor) -> Tensor:
        """(B, N, C) into the encoder and out of each of its L layers, in this order -> (B, N, C)."""
        fused = stages if self.sources == "all" else (stages[-1], stages[0])
        return self.norm(self.linear(torch.cat(fused, dim=-1)))

    def passing_memory(self, norm_weight: Tensor, norm_bias: Tensor) -> dict[str, Tensor]:
        """Parameters with which the fusion gives the memory of the last layer as it is.

        With a norm, the linear layer undoes the affine part of the encoder's last norm, and the norm does it again:
        equal but for the `eps` of the norms.

        Args:
            norm_weight, norm_bias: (C,) of the norm behind the encoder's last layer.
        """
        dim = len(norm_weight)
        scale, shift = torch.ones_like(norm_weight), torch.zeros_like(norm_bias)
        passing = {}
        if self.has_norm:
            scale = torch.where(norm_weight == 0, 0.0, 1 / norm_weight)
            shift = -norm_bias * scale
            passing = {"norm.weight": norm_weight.clone(), "norm.bias": norm_bias.clone()}
        weight = norm_weight.new_zeros(self.linear.weight.shape)
        memory = slice(0, dim) if self.sources == "ends" else slice(-dim, None)
        weight[:, memory] = torch.diag(scale)
        return {"linear.weight": weight, "linear.bias": shift, **passing}

"""Multi-head attention with one mask for all heads.

Parameters have the names and the layout of `nn.MultiheadAttention`, which would copy the mask for every head.

Shapes: B images, Q queries, N keys, C channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnet_d2.kernels.masked_attention import masked_attention


class MaskedAttention(nn.Module):
    """Attention of queries to keys.

    Args:
        dim: channels C.
        num_heads: heads, a divisor of C.

    Raises:
        ValueError: dim is not a multiple of num_heads.
    """

    def __init__(self, dim: int, *, num_heads: int = 8):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}.")
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Weighted sums of values.

        Args:
            query: (B, Q, C); key, value: (B, N, C).
            attn_mask: (B, Q, N) bool, True = a query does not see that key.

        Returns:
            (B, Q, C).
        """
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query, key, value = [
            self._heads(F.linear(tokens, weight, bias))
            for tokens, weight, bias in zip((query, key, value), weights, biases, strict=True)
        ]
        attended = masked_attention(
            query, key, value, None if attn_mask is None else attn_mask[:, None]
        )  # (B, heads, Q, C/heads)
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def _heads(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        return tokens.view(*tokens.shape[:2], self.num_heads, -1).transpose(1, 2)

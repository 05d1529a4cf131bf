"""1x1 convolutions of maps whose channels lie last in memory, as FocalNet's do."""

import torch.nn.functional as F
from torch import Tensor, nn


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution as the product that it is, without another layout: (B, C_in, H, W) -> (B, C_out, H, W)."""
    return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)

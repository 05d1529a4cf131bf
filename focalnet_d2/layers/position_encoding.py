"""Sine encodings of positions in maps and of reference boxes (arXiv:1706.03762, section 3.5, in two dimensions)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _sines(positions: Tensor, num_feats: int, temperature: float, dtype: torch.dtype) -> Tensor:
    """(...) radians -> (..., num_feats): sine on even, cosine on odd features; wavelengths of `dtype` grow with T."""
    index = torch.arange(num_feats, dtype=dtype, device=positions.device)
    frequency = temperature ** (2 * torch.div(index, 2, rounding_mode="floor") / num_feats)
    angles = positions[..., None] / frequency  # (..., num_feats)
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(-2)


class SinePositionEncoding(nn.Module):
    """Encoding of every cell of a map by its place within the unpadded area.

    Trained weights fit one setting only: FocalNet-DINO has temperature 20 and offset 0, detrex 10000 and -0.5,
    Mask2Former 10000 and 0.

    Args:
        num_feats: features of each axis.
        temperature: ratio of the longest to the shortest wavelength.
        temperature_width: the same of x; None: as that of y.
        offset: added to the cell count (1, 2, ...) before it is divided by the number of cells.
        scale: length of an axis after the division, radians.
    """

    def __init__(
        self,
        num_feats: int = 128,
        *,
        temperature: float = 10000.0,
        temperature_width: float | None = None,
        offset: float = 0.0,
        scale: float = 2 * math.pi,
    ):
        super().__init__()
        self.num_feats = num_feats
        self.temperature = temperature
        self.temperature_width = temperature if temperature_width is None else temperature_width
        self.offset = offset
        self.scale = scale

    def forward(self, padding_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, H, W) bool, True = padding -> (B, 2 * num_feats, H, W): features of y, then of x."""
        counts = [(~padding_mask).cumsum(axis, dtype=dtype) for axis in (1, 2)]  # 2 x (B, H, W)
        ends = [counts[0][:, -1:], counts[1][:, :, -1:]]
        temperatures = (self.temperature, self.temperature_width)
        encoded = [
            _sines((count + self.offset) / (end + 1e-6) * self.scale, self.num_feats, temperature, dtype)
            for count, end, temperature in zip(counts, ends, temperatures, strict=True)
        ]
        return torch.cat(encoded, dim=-1).permute(0, 3, 1, 2)

    def of_size(self, size: Sequence[int], like: Tensor) -> Tensor:
        """The encoding of a map (H, W) without padding, from one row and one column of it: (1, 2 * num_feats, H, W).

        To 1e-6 that of `forward`; type and device are those of `like`.
        """
        height, width = size
        lines = [torch.zeros(1, *shape, dtype=torch.bool, device=like.device) for shape in ((height, 1), (1, width))]
        y, x = (self(line, like.dtype) for line in lines)  # (1, 2 * num_feats, H, 1), (1, 2 * num_feats, 1, W)
        halves = (y[:, : self.num_feats], x[:, self.num_feats :])
        return torch.cat([half.expand(-1, -1, height, width) for half in halves], dim=1)


def encode_reference_points(reference_points: Tensor, num_feats: int = 128, temperature: float = 10000.0) -> Tensor:
    """(..., 2) xy or (..., 4) cxcywh in [0, 1] -> (..., 2 or 4 times num_feats), in the order y, x, w, h.

    Wavelengths are float32 whatever the type of the points, as in the published DINO.
    """
    x, y, *size = reference_points.unbind(-1)
    ordered = torch.stack([y, x, *size], dim=-1) * (2 * math.pi)
    return _sines(ordered, num_feats, temperature, torch.float32).flatten(-2)

"""Boolean masks at one bit a pixel, to stand where Detectron2 expects an (N, H, W) bool tensor.

A hundred masks of a 20-megapixel image take 250 MB instead of 2 GB. Rows are packed one by one, so masks can be filled
in a few rows at a time: the bits of a row are those of `numpy.packbits(masks, axis=-1)`.
"""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Times a 64-bit word of eight bytes 0 or 1, the highest byte of the product holds byte i at bit 7 - i; no two terms
# of the product meet, so nothing is carried.
_GATHER_BITS = sum(2 ** (63 - 9 * i) for i in range(8)) - 2**64  # as a signed number


class PackedMasks:
    """N masks of H x W pixels.

    Behaves like a bool tensor as far as `Instances`, evaluators and `Visualizer` go: length, iteration, indices,
    conversion to numpy. An integer gives one dense (H, W) mask, any other index PackedMasks.

    Args:
        packed: (N, H, ceil(W / 8)) uint8; the bits beyond W are 0.
        width: W.
    """

    def __init__(self, packed: Tensor, *, width: int):
        assert packed.dtype == torch.uint8
        assert packed.shape[1:] == (packed.shape[1], -(-width // 8))
        self.packed = packed
        self.width = width

    @classmethod
    def zeros(cls, shape: Sequence[int], device: torch.device | str) -> "PackedMasks":
        """Empty masks: `shape` (N, H, W)."""
        count, height, width = shape
        return cls(torch.zeros(count, height, -(-width // 8), dtype=torch.uint8, device=device), width=width)

    @classmethod
    def pack(cls, masks: Tensor) -> "PackedMasks":
        """Packs (N, H, W) bool."""
        return cls(_pack_rows(masks), width=masks.shape[-1])

    @staticmethod
    def cat(parts: Sequence["PackedMasks"]) -> "PackedMasks":
        """The masks of all parts, which have one size and lie on one device."""
        return PackedMasks(torch.cat([part.packed for part in parts]), width=parts[0].width)

    @property
    def shape(self) -> torch.Size:
        """(N, H, W)."""
        return torch.Size((*self.packed.shape[:2], self.width))

    @property
    def device(self) -> torch.device:
        """Where the bits lie."""
        return self.packed.device

    @property
    def tensor(self) -> Tensor:
        """All masks, dense: (N, H, W) bool."""
        return _unpack_rows(self.packed, self.width)

    def set_rows(self, start: int, masks: "PackedMasks") -> None:
        """Overwrites rows start, start + 1, ... of every mask by `masks` (N, rows, W)."""
        self.packed[:, start : start + masks.shape[1]] = masks.packed

    def to(self, device: torch.device | str) -> "PackedMasks":
        """The same masks on another device."""
        return PackedMasks(self.packed.to(device), width=self.width)

    def __len__(self) -> int:
        return len(self.packed)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, item: int) -> Tensor: ...

    @overload
    def __getitem__(self, item: slice | Tensor) -> "PackedMasks": ...

    def __getitem__(self, item: int | slice | Tensor) -> "Tensor | PackedMasks":
        chosen = self.packed[item]
        return _unpack_rows(chosen, self.width) if chosen.dim() == 2 else PackedMasks(chosen, width=self.width)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.tensor.cpu().numpy(), dtype=dtype)

    def __repr__(self) -> str:
        return f"PackedMasks({' x '.join(map(str, self.shape))}, {self.device})"


def _pack_rows(masks: Tensor) -> Tensor:
    """(..., W) bool -> (..., ceil(W / 8)) uint8, the first pixel in the highest bit."""
    padded = F.pad(masks.view(torch.uint8), (0, -masks.shape[-1] % 8)).contiguous()
    return (padded.view(torch.int64) * _GATHER_BITS >> 56).to(torch.uint8)


def _unpack_rows(packed: Tensor, width: int) -> Tensor:
    """(..., ceil(W / 8)) uint8 -> (..., W) bool."""
    values = torch.arange(256, dtype=torch.uint8, device=packed.device)
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    words = (values[:, None] >> shifts & 1).view(torch.int64).flatten()  # (256,): eight pixels in one word
    pixels = words.index_select(0, packed.flatten().int()).view(torch.bool)
    return pixels.view(*packed.shape[:-1], 8 * packed.shape[-1])[..., :width]

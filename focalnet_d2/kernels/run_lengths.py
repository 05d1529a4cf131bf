"""COCO's compressed run lengths of masks, compiled (run_lengths.cpp); who calls it has another way."""

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from .compiler import CompiledLibrary

LIBRARY = CompiledLibrary(Path(__file__).with_name("run_lengths.cpp"))
_PER_MASK = 4096  # characters that a mask rarely needs

_number = ctypes.c_int64


def encode_masks(masks: Tensor) -> list[str]:
    """The text `counts` of each of N masks, (N, H, W) bool on the CPU with at least one pixel."""
    masks = masks.contiguous()
    room, texts = len(masks) * _PER_MASK, []
    while len(texts) < len(masks):
        text, lengths = torch.empty(room, dtype=torch.uint8), torch.empty(len(masks), dtype=torch.int64)
        rest, done = masks[len(texts) :], _number(0)
        sizes = map(_number, rest.shape)
        LIBRARY.function("encode_masks")(
            _address(rest), *sizes, _address(text), _number(room), _address(lengths), ctypes.byref(done)
        )
        ends = lengths[: done.value].cumsum(0).tolist()
        joined = text[: ends[-1] if ends else 0].numpy().tobytes().decode("ascii")
        texts += [joined[start:end] for start, end in zip([0, *ends], ends)]
        room *= 2
    return texts


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())

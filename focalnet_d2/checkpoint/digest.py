"""The digest by which our own files are known to hold what was written: an entry of their metadata."""

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

DIGEST = "digest"  # entry of the metadata


def digest_of(content: Any, text: str = "") -> str:
    """SHA-256 over the name, type, shape and CRC-32 of every tensor, in any order of the names, and over a text.

    Args:
        content: nested dictionaries and lists; anything in them that is no tensor does not count.
    """
    lines = sorted(f"{name} {value.dtype} {tuple(value.shape)} {_crc(value)}" for name, value in tensors_in(content))
    return hashlib.sha256("\n".join([*lines, text]).encode("utf-8", "surrogatepass")).hexdigest()


def tensors_in(content: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor, of any shape, below nested dictionaries and lists, with the keys and positions that lead to it."""
    if isinstance(content, Tensor):
        yield path, content
    elif isinstance(content, Mapping | list | tuple):
        entries = content.items() if isinstance(content, Mapping) else enumerate(content)
        for key, value in entries:
            yield from tensors_in(value, f"{path}/{key}")


def _crc(tensor: Tensor) -> int:
    """CRC-32 of the values as they lie in memory, row after row; 0 on the meta device."""
    if tensor.is_meta or tensor.numel() == 0:
        return 0
    values = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return zlib.crc32(values.view(-1).view(torch.uint8).numpy().data)

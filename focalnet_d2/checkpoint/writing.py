"""Saving checkpoints so that a crash at any moment leaves either the old file or the new one."""

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from focalnet_d2.utils.atomic_write import atomic_open

from .digest import DIGEST, digest_of


def save_checkpoint(path: str | os.PathLike, data: Mapping[str, Any]) -> None:
    """Writes a dictionary of tensors and plain data as a `.pth` file that `read_checkpoint` can open.

    The file appears complete or not at all: it is written beside its place and then renamed. Where `data` has an entry
    `metadata`, a digest of the tensors is added to it, which reading compares and removes.

    Raises:
        TypeError: `data` holds something that reading would refuse; the old file stays.
    """
    _require_plain(dict(data), "data")
    content = dict(data)
    if isinstance(content.get("metadata"), dict):
        content["metadata"] = {**content["metadata"], DIGEST: digest_of(content)}
    with atomic_open(path) as file:
        torch.save(content, file)


def save_weights(
    path: str | os.PathLike, model: nn.Module | Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None
) -> None:
    """Writes weights of any shape as `.safetensors`, with `metadata` (anything JSON can say) in its header.

    The header also gets a digest of all that, which reading compares.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    # Copies: the format refuses tensors that share memory.
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    text = json.dumps(dict(metadata or {}))
    with atomic_open(path) as file:
        file.write(save(tensors, {"format": "pt", "metadata": text, DIGEST: digest_of(tensors, text)}))


_PLAIN = {str, bytes, int, float, bool, complex, type(None), torch.dtype, torch.device, torch.Size}


def _require_plain(value: Any, where: str) -> None:
    """Raises TypeError, naming the entry, for a value that could not be read back without running code."""
    if type(value) in (dict, OrderedDict):
        for key, entry in value.items():
            _require_plain(key, f"a key of {where}")
            _require_plain(entry, f"{where}[{key!r}]")
    elif type(value) in (list, tuple, set):
        for index, entry in enumerate(value):
            _require_plain(entry, f"{where}[{index}]")
    elif type(value) not in _PLAIN and not isinstance(value, np.number) and not _is_dense(value):
        raise TypeError(
            f"A checkpoint cannot hold {where}, a {type(value).__name__}: save dense tensors, numbers, strings, lists "
            "and dicts only."
        )


def _is_dense(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized

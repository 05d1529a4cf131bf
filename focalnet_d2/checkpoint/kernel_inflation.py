"""Kernels and focal levels that grow when a FocalNet moves to a dense task (arXiv:2203.11926, section 4.2).

A kernel that grows is surrounded by zeros, so the outputs stay what they were; one that shrinks keeps its centre. A
focal level that the file lacks gets a zero gate and keeps the kernel the model was built with. This is what the
published loaders of mmdetection and mmsegmentation do, biases included.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import State, rename


def fit_kernel(kernel: Tensor, size: int) -> Tensor:
    """(C, 1, k, k) -> (C, 1, size, size): zeros around it, or its centre; odd sizes."""
    margin = (size - kernel.shape[-1]) // 2
    return F.pad(kernel, (margin,) * 4)


def fit_gates(rows: Tensor, dim: int, levels: int) -> Tensor:
    """(2C+L+1, ...) rows of `modulation.f` -> (2C+levels+1, ...); C = dim, levels >= L.

    Query, context and old gates stay in place, the gate of the global average stays last, new gates are zero.
    """
    new = rows.new_zeros((levels - (rows.shape[0] - 2 * dim - 1), *rows.shape[1:]))
    return torch.cat([rows[:-1], new, rows[-1:]])


_KERNEL, _GATES = rename("*.modulation.focal_layers.#.0.weight"), rename("*.modulation.f.<weight|bias>")


def added_kernels(tensors: State, model_state: State, prefix: str) -> set[str]:
    """Names of the kernels below a prefix that belong to focal levels which the file's gates do not know."""
    added = set()
    for name in model_state:
        if name.startswith(prefix + "layers.") and _KERNEL.matches(name) and name not in tensors:
            modulation, level = name.removesuffix(".0.weight").split("focal_layers.")
            gates = tensors.get(modulation + "f.weight")
            if gates is not None and int(level) >= gates.shape[0] - 2 * gates.shape[1] - 1:
                added.add(name)
    return added


def grow(tensors: dict[str, Tensor], model_state: State, prefix: str) -> dict[str, str]:
    """Brings kernels (C, 1, k, k) and gates (2C+L+1, ...) below a prefix to the model's sizes.

    Args:
        tensors: the file's tensors by the model's names, changed in place.

    Returns:
        Name -> what was done.
    """
    resized = {}
    for name, tensor in tensors.items():
        wanted = model_state[name].shape if name in model_state else tensor.shape
        if tensor.shape == wanted or not name.startswith(prefix + "layers."):
            continue
        if _KERNEL.matches(name):
            tensors[name] = fit_kernel(tensor, wanted[-1])
        elif _GATES.matches(name):
            dim = tensors[name.rpartition(".")[0] + ".weight"].shape[1]
            tensors[name] = fit_gates(tensor, dim, wanted[0] - 2 * dim - 1)
        resized[name] = f"{tuple(tensor.shape)} -> {tuple(wanted)}"
    return resized

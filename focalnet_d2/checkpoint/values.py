"""Whether a model can hold the values of a file as they are."""

import torch
from torch import Tensor

from .layout import State


def unfit_types(tensors: State, state: State) -> list[str]:
    """`name int64 for float32` of every tensor whose values would change by more than rounding."""
    return [
        f"{name} {str(tensor.dtype)[6:]} for {str(state[name].dtype)[6:]}"
        for name, tensor in tensors.items()
        if name in state and not _keeps_values(tensor, state[name].dtype)
    ]


def _keeps_values(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Real numbers stay ones, and what is counted in whole numbers (as batches are) must be whole and not too large."""
    if tensor.dtype == dtype or (tensor.is_floating_point() and dtype.is_floating_point):
        return True
    if dtype.is_floating_point or torch.bool in (tensor.dtype, dtype) or tensor.is_complex() or dtype.is_complex:
        return False
    return tensor.is_meta or torch.equal(tensor.to(dtype).to(tensor.dtype), tensor)


def nonfinite_names(tensors: State, state: State) -> list[str]:
    """Names of tensors with a NaN or an infinite value in the model's type; those without values have none."""
    return [name for name, tensor in tensors.items() if name in state and not _is_finite(tensor, state[name].dtype)]


def _is_finite(tensor: Tensor, dtype: torch.dtype) -> bool:
    if tensor.is_meta or not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    lowest, highest = torch.aminmax(tensor.detach().to(dtype))  # NaN is passed on; much faster than isfinite
    return bool(lowest.isfinite() and highest.isfinite())

"""A second rule for weights and inputs, for the reference values quoted in the tests of single modules.

Entry j of a tensor is a multiple of U(j, S) = frac((j + 1 + S) * golden ratio) - 0.5. S is a given number for inputs
and the sum of the bytes of the name for parameters. Expected outputs are quoted as (mean, mean of absolute values,
first, last) of the flattened tensor, measured with the official implementations.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

RATIO = 0.6180339887498949


def spread(count: int, offset: int = 0) -> np.ndarray:
    """U(0..count-1, offset): float64 in [-0.5, 0.5)."""
    return np.modf((np.arange(count, dtype=np.float64) + 1 + offset) * RATIO)[0] - 0.5


def reference_input(*shape: int, offset: int = 0) -> Tensor:
    return torch.from_numpy(2 * spread(math.prod(shape), offset)).reshape(shape).float()


def reference_value(name: str, shape) -> Tensor:
    """Value of the parameter `name`."""
    count = math.prod(shape)
    draws = spread(count, sum(name.encode()))
    if len(shape) >= 2:
        draws = 2 * draws / math.sqrt(count / shape[0])
    elif name.endswith("bias"):
        draws = 0.2 * draws
    else:
        draws = 1 + 0.2 * draws
    return torch.from_numpy(draws).reshape(tuple(shape)).float()


def fill_module(module: nn.Module, rename=lambda name: name) -> nn.Module:
    """Set every entry of the state dict by the rule; `rename` gives the name the rule is applied to."""
    state = module.state_dict()
    module.load_state_dict({name: reference_value(rename(name), value.shape) for name, value in state.items()})
    return module


def assert_summary(values: Tensor, expected, tolerance: float = 1e-4) -> None:
    """`expected`: mean, mean of absolute values, first, last."""
    flat = values.detach().double().flatten()
    found = torch.stack([flat.mean(), flat.abs().mean(), flat[0], flat[-1]])
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=tolerance, rtol=0)

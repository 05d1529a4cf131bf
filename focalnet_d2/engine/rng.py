"""State of every random generator of a process, as tensors and plain numbers."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def get_rng_state() -> dict[str, Any]:
    """State of the generators of Python, numpy, torch and of this process's accelerator."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "keys": torch.from_numpy(keys.astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
    }
    if accelerator := _accelerator():
        state["mps" if accelerator is torch.mps else "cuda"] = accelerator.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Put the generators into a state from `get_rng_state`; those that it does not hold stay as they are."""
    python, legacy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    keys = legacy["keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, legacy["position"], legacy["has_gauss"], legacy["cached"]))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    elif "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Random numbers drawn inside change nothing outside."""
    python, numpy, of_torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    accelerator = _accelerator()
    state = accelerator and accelerator.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(of_torch)
        if accelerator:
            accelerator.set_rng_state(state)


def _accelerator() -> Any:
    """The module of torch whose generator this process may draw from beside the CPU's; None where there is none."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda
    return torch.mps if torch.backends.mps.is_available() else None

"""Bytes of the tensors that are alive, at every moment of a computation."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from focalnet_d2.utils.tensors import tensors_in


class LiveMemory(TorchDispatchMode):
    """Counts, inside, what operators allocate and what is freed; it serves fake tensors as well as real ones.

    Views share their storage, which counts once. What an operator needs within itself is not seen.

    Attributes:
        now: bytes of the storages that are alive.
        peak: the most there were since the beginning, or since `reset_peak`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.add(tensors_in(result))
        return result

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors of any shape that are there already, such as parameters."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._alive:
                self._alive[key] = size
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, key)

    def reset_peak(self) -> None:
        """Forget earlier peaks."""
        self.peak = self.now

    def _free(self, key: int) -> None:
        self.now -= self._alive.pop(key)

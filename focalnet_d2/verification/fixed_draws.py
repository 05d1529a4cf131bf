"""Random numbers that do not depend on how many others are drawn: they are all the middle of their range."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten


class FixedDraws(TorchDispatchMode):
    """Inside, every uniform number is one half of its range, a normal one its mean, a coin its likelier side, and an
    order that of the numbers. Two processes with an image each then draw what one process draws for both.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        draw = _DRAWS.get(func.overloadpacket)
        return func(*args, **kwargs) if draw is None else draw(func(*args, **kwargs), *args, **kwargs)


def _half(drawn: Tensor, *_: Any, **__: Any) -> Tensor:
    return drawn.fill_(0.5)


def _mean(drawn: Tensor, *_: Any, **__: Any) -> Tensor:
    return drawn.zero_()


def _middle(drawn: Tensor, low: float = 0, high: float | None = None, *_: Any, **__: Any) -> Tensor:
    """Of `randint(high, size)` and `randint(low, high, size)`."""
    return drawn.fill_(low // 2 if not isinstance(high, int | float) else (low + high) // 2)


def _middle_in_place(drawn: Tensor, _: Tensor, low: float = 0.0, high: float = 1.0, **__: Any) -> Tensor:
    return drawn.fill_((low + high) / 2)


def _mean_in_place(drawn: Tensor, _: Tensor, mean: float = 0.0, *__: Any, **___: Any) -> Tensor:
    return drawn.fill_(mean)


def _likelier(drawn: Tensor, _: Tensor, share: float | Tensor = 0.5, **__: Any) -> Tensor:
    return drawn.copy_(share >= 0.5) if isinstance(share, Tensor) else drawn.fill_(float(share >= 0.5))


def _in_order(drawn: Tensor, *_: Any, **__: Any) -> Tensor:
    return drawn.copy_(torch.arange(len(drawn), device=drawn.device))


_DRAWS = {
    _aten.rand: _half,
    _aten.rand_like: _half,
    _aten.randn: _mean,
    _aten.randn_like: _mean,
    _aten.randint: _middle,
    _aten.randint_like: lambda drawn, _, *bounds, **__: _middle(drawn, *bounds),
    _aten.randperm: _in_order,
    _aten.uniform_: _middle_in_place,
    _aten.normal_: _mean_in_place,
    _aten.bernoulli_: _likelier,
}

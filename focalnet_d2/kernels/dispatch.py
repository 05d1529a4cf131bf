"""The one place that knows which implementations a computation has, and which of them a call takes.

A module with several implementations of one computation lists them in a `Computation`, the fastest first; the last one
serves every device. Layers and models call the computation and name none of them: the first that is made for the
device and dtype, suits the arguments and is available here is taken. A new backend is one more `Implementation` in the
list.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

HALF_AND_SINGLE = (torch.float16, torch.bfloat16, torch.float32)
FLOATING = (*HALF_AND_SINGLE, torch.float64)

# Implementations that have never run on a device that they are for, by name, with the variable that takes them there
# when it is 1. Once a card has run them, the entry goes and they are taken like all others.
UNPROVEN = {"triton": "FOCALNET_D2_TRITON"}


def makes_graph() -> bool:
    """Whether torch.compile or a tracer makes a graph of what is computed: then values must decide nothing."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


@dataclass(frozen=True)
class Implementation:
    """One way to compute something.

    Attributes:
        name: what `Computation.named` finds it by.
        compute: the computation; its arguments and its result are those of the module that lists it.
        detail: one line about it for `focalnet-d2 doctor`.
        devices: device types ("cpu", "cuda", ...) that it is made for; empty when it is made for all.
        dtypes: dtypes that it is made for; empty when it is made for all.
        suits: whether it is the one to take for the arguments that a call hands to `Computation.choose`.
        unavailable_reason: why it is missing on this machine, in one line; empty when it is not.
        try_out: runs it once on a device type; raises where it does not run or gives a wrong result.
        takes_half: whether `compute` itself sums half precision in float32.
    """

    name: str
    compute: Callable[..., Any]
    detail: str = ""
    devices: tuple[str, ...] = ()
    dtypes: tuple[torch.dtype, ...] = ()
    suits: Callable[..., bool] | None = None
    unavailable_reason: Callable[[], str] = str
    try_out: Callable[[str], None] | None = None
    takes_half: bool = False

    def serves(self, device_type: str, dtype: torch.dtype, *arguments: object) -> bool:
        """Whether a call may take it; without arguments: whether some call may."""
        return (
            (not self.devices or device_type in self.devices)
            and (not self.dtypes or dtype in self.dtypes)
            and (self.suits is None or len(arguments) == 0 or self.suits(*arguments))  # torch.compile knows no `not ()`
            and ((self.unavailable_reason is str and self.try_out is None) or not self.why_not(device_type))
        )

    def why_not(self, device_type: str) -> str:
        """Why a device of a type that it is made for does not take it, in one line; empty when it does."""
        reason = self.unavailable_reason()
        return self._refusal(device_type) if self.try_out and not reason else reason

    @torch.compiler.assume_constant_result
    def _refusal(self, device_type: str) -> str:
        kernels, switch = f"the {self.name.capitalize()} kernels", UNPROVEN.get(self.name)
        if switch and os.environ.get(switch) != "1":
            return f"{kernels} were not yet run on a card: {switch}=1 takes them"
        failure = _failure(self.try_out, device_type)
        return failure and f"{kernels} do not run: {failure}"


@cache
def _failure(try_out: Callable[[str], None], device_type: str) -> str:
    """What went wrong when an implementation was tried out, once: a package or a compiler is missing, ..."""
    try:
        try_out(device_type)
    except Exception as error:  # triton and its compilers raise many kinds
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return ""


class Computation:
    """A computation with several implementations.

    Args:
        name: what messages call it.
        implementations: the one to prefer first; the last one serves every device, dtype and argument.
        portable: name of the one that exported graphs hold, made of operators that other runtimes have; by default
            the last.

    Attributes:
        portable_only: whether all computations take their portable implementations now (see `portable_operators`).
    """

    portable_only = False

    def __init__(self, name: str, implementations: Sequence[Implementation], *, portable: str = ""):
        self.name = name
        self.implementations = tuple(implementations)
        *self._preferred, self._last = self.implementations
        self._portable = self.named(portable) if portable else self._last
        self._only: Implementation | None = None

    def choose(self, device_type: str, dtype: torch.dtype, *arguments: object) -> Implementation:
        """The implementation that a call takes.

        Args:
            device_type: where the call's tensors are.
            dtype: the type that it computes in.
            arguments: what `Implementation.suits` of this computation asks about.
        """
        if self._only is not None:
            return self._only
        if Computation.portable_only:
            return self._portable
        for one in self._preferred:
            if one.serves(device_type, dtype, *arguments):
                return one
        return self._last

    def available(self, device_type: str, dtype: torch.dtype = torch.float32) -> list[Implementation]:
        """The implementations that can serve a device type and dtype, the one that will be taken first."""
        return [one for one in self.implementations if one.serves(device_type, dtype)]

    def named(self, name: str) -> Implementation:
        """The implementation of this name, whatever device it is made for.

        Raises:
            ValueError: it is unknown, or missing here.
        """
        found = [one for one in self.implementations if one.name == name]
        if not found:
            known = ", ".join(one.name for one in self.implementations)
            raise ValueError(f"{self.name.capitalize()} has no implementation {name!r}; choose one of {known}.")
        if reason := found[0].unavailable_reason():
            raise ValueError(f"{self.name.capitalize()} has no implementation {name!r} here: {reason}.")
        return found[0]

    @contextmanager
    def only(self, name: str) -> Iterator[None]:
        """Every call inside takes this implementation, in all threads: for tests and measurements.

        Raises:
            ValueError: it is unknown, or missing here.
        """
        before, self._only = self._only, self.named(name)
        try:
            yield
        finally:
            self._only = before

    def report(self, device_type: str) -> str:
        """What a device takes for float32, what else it could take, and what is missing here and why, in one line."""
        first, *others = self.available(device_type)
        text = f"{first.name} ({first.detail}); other forms: {', '.join(one.name for one in others) or 'none'}"
        absent = [one for one in self.implementations if one not in (first, *others)]
        reasons = [(one.name, one.unavailable_reason()) for one in absent]
        return text + "".join(f"; not {name}: {reason}" for name, reason in reasons if reason)


@contextmanager
def portable_operators() -> Iterator[None]:
    """Every computation inside takes its portable implementation, in all threads: for graphs of other runtimes."""
    before, Computation.portable_only = Computation.portable_only, True
    try:
        yield
    finally:
        Computation.portable_only = before

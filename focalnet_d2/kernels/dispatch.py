"""Forms of one computation, of which the first that serves a device and a type is taken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Implementation:
    """One form.

    Attributes:
        name: what the computation's argument `implementation` asks for.
        compute: the computation; its arguments and its result are those of the module that lists the form.
        supports: whether it is the form to take for a device type ("cpu", "cuda", ...) and a dtype.
        detail: one line for `focalnet-d2 doctor`.
        obstacle: why it is missing here; empty when it is not.
        takes_half: whether `compute` itself sums half precision in float32.
    """

    name: str
    compute: Callable
    supports: Callable[[str, torch.dtype], bool]
    detail: str
    unavailable_reason: Callable[[], str] = str
    takes_half: bool = False


def find_implementation(what: str, forms: Sequence[Implementation], name: str) -> Implementation:
    """The form of this name.

    Args:
        what: the computation, for the message.

    Raises:
        ValueError: it is unknown, or missing here.
    """
    found = [form for form in forms if form.name == name]
    if not found:
        raise ValueError(f"{what} has no implementation {name!r}, only {[form.name for form in forms]}")
    if reason := found[0].unavailable_reason():
        raise ValueError(f"{what} has no implementation {name!r} here: {reason}")
    return found[0]

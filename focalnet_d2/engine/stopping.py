"""Where a run looks whether a signal asks it to stop; all ranks agree, whichever of them got the signal."""

from collections.abc import Iterable, Iterator, Sized
from typing import Any, Protocol

from detectron2.utils import comm

from focalnet_d2.utils.stop_signals import RunStopped, requested, signal_name

from .distributed import all_gather_object

AGREE_EVERY = 8  # batches of an evaluation by several processes, which have to wait for each other


class Batches(Sized, Iterable[Any], Protocol):
    """A loader of finite length."""


def agreed_signal() -> int:
    """The signal that any rank got, 0 for none; all ranks must call it."""
    return max(all_gather_object(requested()))


def stop_if_asked(where: str) -> None:
    """Between two pieces of work; all ranks must call it.

    Args:
        where: rest of the message after the signal's name, without a full stop.

    Raises:
        RunStopped: a signal asks for it.
    """
    if signum := agreed_signal():
        raise RunStopped(signum, f"Stopped by {signal_name(signum)} {where}.")


class Stoppable:
    """A loader whose iteration ends with `RunStopped` when a signal asks for it; all ranks must iterate together.

    The ranks may have different numbers of batches; they agree before those that all of them have.

    Args:
        loader: of this rank's batches, with a length.
        what: the work for which it loads, for the message.
    """

    def __init__(self, loader: Batches, what: str) -> None:
        self.loader, self.what = loader, what

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        common = min(all_gather_object(len(self.loader)))
        every = 1 if comm.get_world_size() == 1 else AGREE_EVERY
        for index, batch in enumerate(self.loader):
            if index < common and index % every == 0:
                stop_if_asked(f"during {self.what}")
            yield batch

"""Whether a process computes losses by itself, while others of its run do the same with other numbers of batches."""

from collections.abc import Iterator
from contextlib import contextmanager

_is_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Losses inside are those of this process: none of their numbers is taken over all processes."""
    global _is_alone
    before, _is_alone = _is_alone, True
    try:
        yield
    finally:
        _is_alone = before


def is_alone() -> bool:
    """Whether numbers of losses are those of this process."""
    return _is_alone

"""What the parts of a batch must know of each other, so that their losses add up to the loss of the whole batch.

A loss is a sum over its batch, divided by a number of the batch: objects, weights of queries, sampled regions. When a
batch goes through the model in parts, each part's sum has to be divided by the number of all parts. Losses ask for it
here: `total` and `share` give the batch's own number, or the step's where `StepTotals` are in force.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

N = TypeVar("N", int, float, Any)

HEIGHT, WIDTH = "height", "width"  # of the largest image of a step, in pixels


class StepTotals:
    """Numbers of the parts of a batch: noted first, in force while the parts go through the model.

    Attributes:
        totals: sums over the parts, by key.
        largest: largest values of the parts, by key.
    """

    def __init__(self) -> None:
        self.totals: dict[Hashable, Any] = {}
        self.largest: dict[Hashable, Any] = {}
        self._noted: dict[Hashable, Any] | None = None

    @contextmanager
    def noting_part(self) -> Iterator[None]:
        """Numbers that are asked for inside are those of one part, which are noted."""
        self._noted = {}
        with _asked(self):
            yield
        for key, value in self._noted.items():
            self.totals[key] = self.totals[key] + value if key in self.totals else value
        self._noted = None

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Numbers that are asked for inside are those of all parts."""
        with _asked(self):
            yield

    def _total(self, key: Hashable, value: Any) -> Any:
        if self._noted is not None:
            self._noted[key] = value
            return value
        if key not in self.totals:
            raise RuntimeError(f"A loss is divided by {key!r}, which `note_divisors` of the model has not noted.")
        return self.totals[key]

    def _largest(self, key: Hashable, value: Any) -> Any:
        if self._noted is not None:
            self.largest[key] = max(value, self.largest.get(key, value))
        return self.largest.get(key, value)


_present: StepTotals | None = None


@contextmanager
def _asked(step: StepTotals) -> Iterator[None]:
    global _present
    before, _present = _present, step
    try:
        yield
    finally:
        _present = before


def total(key: Hashable, value: N) -> N:
    """A number of this batch, or its sum over all parts of the step; numbers and scalar tensors alike.

    Raises:
        RuntimeError: the step has no such number.
    """
    return value if _present is None else _present._total(key, value)


def share(key: Hashable, value: Any) -> Any:
    """What turns a mean over `value` elements into this part's share of the mean over all parts; 1 for a whole batch.

    Raises:
        RuntimeError: the step has no such number.
    """
    whole = total(key, value)
    return 1.0 if whole is value else value / whole if whole else 1.0


def largest(key: Hashable, value: N) -> N:
    """A number of this batch, or the largest of all parts of the step."""
    return value if _present is None else _present._largest(key, value)

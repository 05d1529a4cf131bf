"""Attempts of which some fail."""

import gc
import weakref

import pytest

from focalnet_d2.utils.attempts import raising


class Held:
    """What attempts hold while they go on."""


def attempts(held: Held, closed: list[bool]):
    try:
        yield 1
        yield ValueError("second")
        yield 3
    finally:
        closed.append(held is not None)


def test_what_attempts_hold_is_let_go_with_the_first_error():
    """Not in a later garbage collection: that may come in any thread, while any lock is held."""
    closed: list[bool] = []
    held = Held()
    alive = weakref.ref(held)
    gc.disable()
    try:
        made = raising(attempts(held, closed))
        assert next(made) == 1
        with pytest.raises(ValueError, match="second"):
            next(made)
        assert closed == [True]
        del made, held
        assert alive() is None
    finally:
        gc.enable()

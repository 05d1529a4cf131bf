"""A group of checks that raises does not stop the others."""

from focalnet_d2.diagnostics.check import FAILS, guarded


def test_check_that_raises_becomes_one_that_fails():
    def check_of_something():
        raise RuntimeError("broken")

    (check,) = guarded(check_of_something)
    assert check.status == FAILS
    assert check.name == "of something"
    assert check.detail == "RuntimeError: broken"

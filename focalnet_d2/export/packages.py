"""Packages that only export needs, imported when it needs them."""

from importlib import import_module
from typing import Any


def optional(name: str) -> Any:
    """A package, which may be missing.

    Raises:
        ImportError: it is; the message has the command that installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        raise ImportError(
            f"This export needs {top}, which is not installed here: pip install 'focalnet-d2[export]'", name=top
        ) from error

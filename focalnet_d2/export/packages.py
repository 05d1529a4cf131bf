"""Packages that only export needs, imported when it needs them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def without_hint(beginning: str) -> Iterator[None]:
    """Inside, the root logger drops what begins so: advice that a package gives and that does not apply here."""

    def applies(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(beginning)

    logging.getLogger().addFilter(applies)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(applies)

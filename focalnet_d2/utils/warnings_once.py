"""Warnings that are true of many files, and are said once in a process."""

import logging

_said: set[str] = set()


def warn_once(logger: logging.Logger, key: str, text: str) -> None:
    """Log a warning unless one with this key was logged before."""
    if key not in _said:
        _said.add(key)
        logger.warning("%s", text)

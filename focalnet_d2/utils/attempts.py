"""Work on many things of which some may fail: each gives what was made of it, or the error in its place."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

Made = TypeVar("Made")


def raising(attempts: Iterable[Made | Exception]) -> Iterator[Made]:
    """What was made, up to the first error, which is raised."""
    for attempt in attempts:
        if isinstance(attempt, Exception):
            raise attempt
        yield attempt

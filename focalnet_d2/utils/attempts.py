"""Work on many things of which some may fail: each gives what was made of it, or the error in its place."""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TypeVar

Made = TypeVar("Made")


def raising(attempts: Generator[Made | Exception]) -> Iterator[Made]:
    """What was made, up to the first error, which is raised; what the attempts hold (threads, files) is let go then."""
    attempt = None
    with closing(attempts):
        try:
            for attempt in attempts:
                if isinstance(attempt, Exception):
                    raise attempt
                yield attempt
        finally:
            del attempt  # an error refers to this frame, and would keep the attempts alive with itself

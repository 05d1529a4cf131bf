"""How many things are named in one sentence."""

from collections.abc import Iterable
from itertools import islice


def some_of(items: Iterable[object], limit: int = 3) -> str:
    """The first few of many things: `a, b, c and 2 more`."""
    remaining = iter(items)
    words = [str(item) for item in islice(remaining, limit)]
    count = sum(1 for _ in remaining)
    return ", ".join(words) + (f" and {count} more" if count else "")


def plural(count: int, what: str) -> str:
    """A number and what there is of it, with an s for all but one: "1 image", "2 images"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def counted(items: Iterable[object], limit: int = 3) -> str:
    """Their number, and the first few of them: `5 (a, b, c and 2 more)`."""
    words = list(items)
    return f"{len(words)} ({some_of(words, limit)})"

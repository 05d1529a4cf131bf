"""What is odd about a file and does no harm: counted, and said in one line."""

import logging
from collections import Counter


class Oddities:
    """Counts of harmless things in one file.

    Args:
        source: the file, which begins the line.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.counts: Counter[str] = Counter()

    def add(self, what: str, count: int = 1) -> None:
        """Counts something; the phrase says what becomes of it: "with iscrowd null, read as 0"."""
        if count:
            self.counts[what] += count

    def __str__(self) -> str:
        return f"{self.source}: " + "; ".join(f"{count} {what}" for what, count in self.counts.items()) + "."

    def log(self, logger: logging.Logger, level: int = logging.WARNING) -> None:
        """Logs one line, unless there is nothing to say."""
        if self.counts:
            logger.log(level, "%s", self)

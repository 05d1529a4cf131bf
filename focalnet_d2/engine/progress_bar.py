"""Bars on a terminal, with the lines of the log above them; nothing where there is no terminal."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from detectron2.utils import comm
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class Bar(tqdm):
    """A bar without the thread of tqdm, beside which the processes of a loader would be forked."""

    monitor_interval = 0


@contextmanager
def progress_bar(total: int, **options: Any) -> Iterator[Bar]:
    """A bar inside, which is closed however the block ends; lines that loggers write to the terminal stand above it.

    It is shown by the main process alone, and only where both outputs are a terminal, so that nothing of it gets into
    files and pipes.

    Args:
        total: number of updates.
        options: of tqdm.
    """
    is_shown = comm.is_main_process() and sys.stdout.isatty() and sys.stderr.isatty()
    shown = Bar(total=total, disable=not is_shown, miniters=1, dynamic_ncols=True, **options)
    with shown as bar, logging_redirect_tqdm(_console_loggers() if is_shown else [], Bar):
        yield bar


def _console_loggers() -> list[logging.Logger]:
    """The loggers that write to the terminal themselves."""
    known = [logging.root, *logging.Logger.manager.loggerDict.values()]
    return [one for one in known if isinstance(one, logging.Logger) and any(map(_is_of_console, one.handlers))]


def _is_of_console(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr)

"""How every command line runs: with as many threads as it may use, and with an end that says what was wrong.

A user's mistake is one line and exit status 2, a fault of ours shows its traceback.
"""

import argparse
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from focalnet_d2.utils.stop_signals import EXIT_STATUS, RunStopped
from focalnet_d2.utils.thread_choice import choose_threads

USERS_MISTAKE = 2  # exit status, the same as argparse's for arguments that it does not know
BROKEN_PIPE = 141  # as a shell reports SIGPIPE
DEBUG = "--debug"
_PROCESSES = ("num_gpus", "num_processes", "workers")  # options by which a command line starts others
_OUR_PACKAGES = ("focalnet_d2", "dino", "mask2former")
# What PyTorch puts before the message of an error that a loader process raised: its whole traceback.
_OF_A_LOADER = re.compile(r"Caught (\w+) in DataLoader worker process \d+\.\n.*\n(?:[\w.]+\.)?\1: ", re.DOTALL)


def run_command(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], Any],
    arguments: Sequence[str] | None = None,
    *,
    parse: Callable[..., argparse.Namespace] = argparse.ArgumentParser.parse_args,
) -> int:
    """Parse a command line, run the command, and end as `end_with_one_line` does; returns the exit status.

    Args:
        run: gets what was parsed; what it returns does not matter.
        arguments: words of the command line, by default those of this process. `--debug` may stand anywhere.
        parse: the parser's method that reads the words.
    """
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of a mistake, not one line about it")
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(parser, [word for word in words if word != DEBUG])

    def run_parsed() -> int:
        run(options)
        return 0

    return end_with_one_line(run_parsed, debug=DEBUG in words, processes=processes_of(options))


def processes_of(options: argparse.Namespace) -> int:
    """How many processes a command line will have at work on this machine."""
    return max(vars(options).get(name) or 1 for name in _PROCESSES)


def end_with_one_line(run: Callable[[], int], *, debug: bool = False, processes: int = 1) -> int:
    """Run a command: its own exit status, 2 after one line for a user's mistake, `EXIT_STATUS` after a signal.

    Args:
        run: returns the exit status; torch is imported in it, or the number of threads stays as it is.
        debug: raise a mistake, too.
        processes: among which the cores are shared.

    Raises:
        Exception: what `run` raised, if it is a fault of ours.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may have bytes that no encoding has
    choose_threads(processes)
    try:
        return run()
    except RunStopped as stopped:
        sys.stderr.write(f"{stopped}\n")
        return stopped.exit_status
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return EXIT_STATUS[signal.SIGINT]
    except BrokenPipeError:  # whoever read the output has closed it, as `head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - Python flushes it at its end
        return BROKEN_PIPE
    except Exception as error:
        if debug or not is_users_mistake(error):
            raise
        sys.stderr.write(f"error: {_message(error)}\n")
        return USERS_MISTAKE


def is_users_mistake(error: BaseException) -> bool:
    """Whether an error comes from values, files or packages that are the user's, and not from a fault of ours."""
    if isinstance(error, ImportError):
        return (error.name or "").partition(".")[0] not in _OUR_PACKAGES
    return isinstance(error, (ValueError, OSError, FloatingPointError))  # the last: a training that diverged


def _message(error: Exception) -> str:
    """What to print about a mistake: one line, but commands that install something stay lines to copy."""
    text = _OF_A_LOADER.sub("", str(error)) or type(error).__name__
    return text if isinstance(error, ImportError) else " ".join(line.strip() for line in text.splitlines())

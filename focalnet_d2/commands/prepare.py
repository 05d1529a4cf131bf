"""What the command lines of the preparation tools have in common."""

import argparse
import logging
import os
import sys
from collections.abc import Callable

from focalnet_d2.data.datasets.custom import datasets_root

SPLITS = ("train", "val")


def preparation_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with --root, --splits and --workers."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=datasets_root(), help="folder of all data sets; default: %(default)s")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS, help="default: both")
    parser.add_argument("--workers", type=_at_least_one, default=os.cpu_count(), help="processes; default: %(default)s")
    return parser


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def run_preparation(prepare: Callable[..., None], options: argparse.Namespace) -> int:
    """Calls `prepare` with the options as keywords; exit status 0, 1 with a message for bad input, 130 interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        prepare(**vars(options))
    except (OSError, ValueError, RuntimeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: the same command continues here.\n")
        return 130
    return 0

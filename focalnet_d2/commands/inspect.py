"""`focalnet-d2 inspect`: tells what a checkpoint file is, and which shipped recipes it fits."""

import argparse
import sys
from collections.abc import Sequence

from .errors import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="focalnet-d2 inspect", description="Tells what a checkpoint is.")
    parser.add_argument("file", help="a checkpoint of any known layout")
    parser.add_argument("--entry", default="", help="entry of the file that holds the weights, where there are several")
    return run_command(parser, _inspect, arguments)


def _inspect(options: argparse.Namespace) -> None:
    from focalnet_d2.model_zoo.inspection import inspect_checkpoint  # not at the top: --help does without torch

    print(inspect_checkpoint(options.file, entry=options.entry))


if __name__ == "__main__":
    sys.exit(main())

"""`focalnet-d2 verify`: whether runs of a recipe are what they promise, on its small form.

    focalnet-d2 verify dino_focalnet_mini_quickstart
    focalnet-d2 verify path/to/recipe.py data=path/to/data --trust
    focalnet-d2 verify 'configs/*_mini_*.py' optimizer.lr=1e-3 --json

The small form has the recipe's model with few layers and queries, its losses, augmentations and schedule at 64 pixels,
and learns for a few steps from generated images, or from data=DIR. Compared with a first run are: a second one; one
that was stopped and went on; an evaluation alone; the files of Predictor; those of the exported model; and two
processes. Each line says how near, or what differs. The exit status is 0, or 1 where something does not hold.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import DEBUG, end_with_one_line

if TYPE_CHECKING:
    from focalnet_d2.verification.checks import Row  # with torch, without which --help does

BROKEN = 1  # exit status
_HELD = {True: "held", False: "NOT HELD", None: "not checked"}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help="path, pattern or name of a recipe; or key=value")
    parser.add_argument("--device", default="cpu", help="of all but the two processes (default: cpu)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="a new folder that keeps all runs, to look at them")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--trust", action="store_true", help="a YAML recipe may build anything, as a program may")
    parser.add_argument(DEBUG, action="store_true", help="show the traceback of a mistake, not one line about it")
    options = parser.parse_intermixed_args(arguments)
    return end_with_one_line(lambda: _verify(options), debug=options.debug)


def _verify(options: argparse.Namespace) -> int:
    from focalnet_d2.engine.jobs import Job  # not at the top: --help does without torch and Detectron2
    from focalnet_d2.verification.checks import verify  # not at the top, for the same reason

    settings = tuple(word for word in options.recipes if "=" in word)
    names = [name for word in options.recipes if "=" not in word for name in sorted(glob(word)) or [word]]
    if not names:
        raise ValueError("Name a recipe before its settings.")
    if options.keep is not None:
        options.keep.mkdir(parents=True)
    jobs = [Job(name, settings, trust=options.trust) for name in names]
    with tempfile.TemporaryDirectory() if options.keep is None else nullcontext(options.keep) as root:
        rows = []
        for row in verify(jobs, Path(root), device=options.device):
            rows.append(row)
            if not options.json:
                print(_line(row, max(map(len, names))), flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    return BROKEN if any(row.held is False for row in rows) else 0


def _line(row: "Row", width: int) -> str:
    """A line of the table; they appear one after another, so their columns have widths of their own."""
    return f"{row.recipe:<{width}}  {row.check:<38}  {_HELD[row.held]:<11}  {row.finding}"


if __name__ == "__main__":
    sys.exit(main())

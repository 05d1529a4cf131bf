"""`focalnet-d2 report`: writes the page report.html of a run, or a page that compares several.

    focalnet-d2 report output/mine
    focalnet-d2 report output/first output/second --output comparison.html

The page is one file that opens without a network. A training writes it at its end; this command writes it at any time,
also while the training goes on or after it was killed.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from .arguments import file_to_write
from .errors import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run; several are compared")
    default = "report.html in the folder of the run; of several, comparison.html here"
    parser.add_argument("--output", type=file_to_write, metavar="FILE", help=f"the page (default: {default})")
    return run_command(parser, _report, arguments)


def _report(options: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    from focalnet_d2.run_reports.comparison_page import write_comparison_page  # --help does without torch
    from focalnet_d2.run_reports.run_page import write_run_page  # not at the top, for the same reason

    if len(options.runs) > 1:
        path = write_comparison_page(options.runs, options.output or Path("comparison.html"))
    else:
        path = write_run_page(Path(options.runs[0]), options.output)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    sys.exit(main())

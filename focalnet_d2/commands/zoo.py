"""`focalnet-d2 zoo`: lists the recipes with their sizes, published results and weights, or fetches the weights of one.

    focalnet-d2 zoo --list
    focalnet-d2 zoo --list mask_rcnn_focalnet_tiny
    focalnet-d2 zoo --fetch dino_focalnet_large_fl3_4scale_12ep_detrex

The last prints the path and the sha256 of the file.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from .errors import run_command

if TYPE_CHECKING:
    from focalnet_d2.model_zoo import ZooModel  # not at the top: --help does without torch

HEADERS = ("recipe", "parameters (M)", "FLOPs (G)", "published", "weights")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_command(_parser(), _list_or_fetch, arguments)


def _list_or_fetch(options: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(models_table(options.list) if options.fetch is None else _fetch(options.fetch, options.folder))


def models_table(substring: str = "") -> str:
    """The recipes that have this in their name, as a table.

    Raises:
        ValueError: none has it.
    """
    from focalnet_d2.model_zoo import get, list_models  # not at the top: --help does without torch

    names = list_models(substring)
    if not names:
        raise ValueError(f"No recipe has '{substring}' in its name: --list alone shows all {len(list_models())}.")
    return tabulate([_row(get(name)) for name in names], headers=HEADERS, disable_numparse=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 zoo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--list", nargs="?", const="", default="", metavar="TEXT", help="recipes with TEXT in the name; default: all"
    )
    what.add_argument("--fetch", metavar="RECIPE", help="find or download the trained weights of this recipe")
    parser.add_argument("--folder", help="where to look first and to put downloads")
    return parser


def _fetch(name: str, folder: str | None) -> str:
    from focalnet_d2.model_zoo import get  # not at the top: --help does without torch
    from focalnet_d2.model_zoo.files import sha256_of  # not at the top: --help does without torch

    path = get(name, folder).weights
    return f"{path}\nsha256 {sha256_of(path)}"


def _row(model: "ZooModel") -> tuple[str, ...]:
    from focalnet_d2.model_zoo.counts import COUNTS  # not at the top: --help does without torch
    from focalnet_d2.model_zoo.families import short_result  # not at the top: --help does without torch

    parameters, multiply_adds = COUNTS.get(model.name, (None, None))
    return (
        model.name,
        "" if parameters is None else f"{parameters / 1e6:.1f}",
        "" if multiply_adds is None else f"{multiply_adds / 1e9:.1f}",
        short_result(model.info.expected),
        _state_of_weights(model),
    )


def _state_of_weights(model: "ZooModel") -> str:
    from focalnet_d2.model_zoo import find_weights  # not at the top: --help does without torch

    file = model.trained_file
    if file is None:
        return "not published"
    if find_weights(file.name) is not None:
        return f"{file.name} (here)"
    return f"{file.name} ({'to download' if file.is_released else 'address closed'})"


if __name__ == "__main__":
    sys.exit(main())

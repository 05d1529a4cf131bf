"""Lists the recipes with their sizes, published results and weights, or fetches the weights of one.

    python -m focalnet_d2.model_zoo --list
    python -m focalnet_d2.model_zoo --list mask_rcnn_focalnet_tiny
    python -m focalnet_d2.model_zoo --fetch dino_focalnet_large_fl3_4scale_12ep_detrex

The last prints the path and the sha256 of the file.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from tabulate import tabulate

from focalnet_d2.model_zoo import ZooModel, find_weights, get, list_models
from focalnet_d2.model_zoo.counts import COUNTS
from focalnet_d2.model_zoo.files import sha256_of

HEADERS = ("recipe", "parameters (M)", "FLOPs (G)", "published", "weights")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        text = models_table(options.list) if options.fetch is None else _fetch(options.fetch, options.folder)
    except (FileNotFoundError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0


def models_table(substring: str = "") -> str:
    """The recipes that have this in their name, as a table.

    Raises:
        ValueError: none has it.
    """
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
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", nargs="?", const="", metavar="TEXT", help="all recipes, or those with TEXT in the name")
    what.add_argument("--fetch", metavar="RECIPE", help="find or download the trained weights of this recipe")
    parser.add_argument("--folder", help="where to look first and to put downloads")
    return parser


def _fetch(name: str, folder: str | None) -> str:
    path = get(name, folder).weights
    return f"{path}\nsha256 {sha256_of(path)}"


def _row(model: ZooModel) -> tuple[str, ...]:
    parameters, multiply_adds = COUNTS.get(model.name, (None, None))
    return (
        model.name,
        "" if parameters is None else f"{parameters / 1e6:.1f}",
        "" if multiply_adds is None else f"{multiply_adds / 1e9:.1f}",
        ", ".join(model.notes.numbers),
        _state_of_weights(model),
    )


def _state_of_weights(model: ZooModel) -> str:
    file = model.trained_file
    if file is None:
        return "not published"
    if find_weights(file.name) is not None:
        return f"{file.name} (here)"
    return f"{file.name} ({'to download' if file.is_released else 'address closed'})"

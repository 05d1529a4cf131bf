"""Trains or evaluates a recipe.

    python train_net.py --config-file dino_focalnet_huge --num-gpus 8
    python train_net.py --config-file configs/dino_focalnet_huge.py --eval-only train.init_checkpoint=model.pth
    python train_net.py --config-file dino_focalnet_mini_quickstart data=path/to/data
    torchrun --nproc-per-node 8 train_net.py --config-file dino_focalnet_huge train.amp=auto

Settings of the recipe are changed by key=value arguments; a key that does not exist is an error. What it does stands in
`focalnet_d2/commands/train.py`, which is also installed as `focalnet-d2 train` and `focalnet-d2 evaluate`.
"""

import argparse
import sys
from collections.abc import Sequence

from focalnet_d2.commands.train import add_resume, add_run_options, run_recipe_command, start


def build_parser() -> argparse.ArgumentParser:
    """The command line, with Detectron2's names of its options."""
    parser = argparse.ArgumentParser(
        prog="train_net.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="RECIPE",
        dest="recipe",
        help="path, folder of a run, or name of a recipe",
    )
    parser.add_argument(
        "--eval-only",
        action="store_true",
        help="evaluate train.init_checkpoint, or the best weights of a run; do not train",
    )
    add_resume(parser)
    add_run_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> dict | None:
    """Parse the command line and run, in as many processes as it asks for.

    Returns:
        The results of `--eval-only` in a run of one process, otherwise None.

    Raises:
        RecipeError: unknown recipe or setting, or GPUs asked for on a device without.
    """
    return start(build_parser().parse_intermixed_args(argv))


if __name__ == "__main__":
    sys.exit(run_recipe_command(build_parser()))

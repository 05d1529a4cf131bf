"""`focalnet-d2 generate`: writes a generated data set, by default where the quick-start recipe looks for it."""

import argparse
import sys
from collections.abc import Sequence

from .errors import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 generate", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--root", default=argparse.SUPPRESS, help="folder to make (default: generated, in the folder of all data sets)"
    )
    parser.add_argument("--train", type=int, default=4000, help="training images")
    parser.add_argument("--val", type=int, default=150, help="held-out images")
    parser.add_argument("--style", default="day", help="look, and list of classes: day, night or paper")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overwrite", action="store_true", help="replace a set that was made with other arguments")
    return run_command(parser, _generate, arguments)


def _generate(options: argparse.Namespace) -> None:
    from focalnet_d2.data.datasets import datasets_root  # not at the top: --help does without torch
    from focalnet_d2.data.generated import generate_dataset  # not at the top: --help does without torch

    root = generate_dataset(
        getattr(options, "root", datasets_root() / "generated"),
        num_train=options.train,
        num_val=options.val,
        style=options.style,
        seed=options.seed,
        overwrite=options.overwrite,
    )
    print(f"{root}: {options.train} training and {options.val} held-out images, style {options.style}")


if __name__ == "__main__":
    sys.exit(main())

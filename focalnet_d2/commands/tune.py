"""`focalnet-d2 tune`: finds the thresholds of a checkpoint on annotated images.

    focalnet-d2 tune output/mine/model_best.pth path/to/data
    focalnet-d2 tune output/mine/model_best.pth path/to/data --write
    focalnet-d2 tune model.safetensors coco_2017_val_panoptic --recipe mask2former_focalnet_tiny_lrf_coco_panoptic

Of a folder the validation part is taken, or the part that data.val names. A share of the images is held out: thresholds
are tuned on the others, and both parts are reported, with the thresholds before beside the tuned ones. With --write the
checkpoint keeps them, and predictions, evaluations and exports use them.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from focalnet_d2.utils.text import plural

from .errors import run_command

FEW = 30  # images

if TYPE_CHECKING:
    from focalnet_d2.inference.tuning import Comparison, Tuning  # not at the top: --help does without torch


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_command(_parser(), _tune, arguments, parse=argparse.ArgumentParser.parse_intermixed_args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="file of a run; any other with --recipe")
    parser.add_argument("data", metavar="DATA", help="folder of data, or name of a registered data set")
    parser.add_argument("--recipe", help="name or path, for a file that holds no recipe")
    parser.add_argument("--write", action="store_true", help="keep the tuned thresholds in the checkpoint")
    parser.add_argument(
        "--holdout", type=float, default=0.5, metavar="SHARE", help="of the images, to report on (default: 0.5)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another one, another split of the images")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--trust", action="store_true", help="the recipe may build anything, as a program may")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. data.val=test")
    return parser


def _tune(options: argparse.Namespace) -> None:
    from focalnet_d2.checkpoint import read_checkpoint  # not at the top: --help does without torch
    from focalnet_d2.inference.tuning import tune  # not at the top: --help does without torch
    from focalnet_d2.inference.tuning_writing import (
        require_recipe,
        require_writable,
        write_thresholds,
    )  # not at the top: --help does without torch

    if options.write:
        require_recipe(read_checkpoint(options.checkpoint), options.checkpoint)
        require_writable(options.checkpoint)
    found = tune(
        options.checkpoint,
        options.data,
        options.recipe,
        overrides=options.overrides,
        holdout=options.holdout,
        seed=options.seed,
        device=options.device,
        trust=options.trust,
    )
    print("\n\n".join(tables(found)))
    if min(found.images.values()) < FEW:
        print(f"\nFewer than {FEW} images say little: the numbers of the held out part may change by chance.")
    if not options.write:
        print("\nNothing was written: --write keeps the thresholds in the checkpoint.")
    else:
        print("\nThe tuned thresholds are in " + " and ".join(map(str, write_thresholds(options.checkpoint, found))))


def tables(found: "Tuning") -> list[str]:
    """What was found, as text."""
    from focalnet_d2.inference.tuning_data import PARTS  # not at the top: --help does without torch

    headers = [f"{part}, {plural(found.images[part], 'image')}" for part in PARTS]
    blocks = []
    if (panoptic := found.panoptic) is not None:
        rows = [
            [title, *pair, *(getattr(panoptic.quality[part], title) for part in PARTS)]
            for title, pair in (("before", panoptic.before), ("after", panoptic.after))
        ]
        names = ["", "object_mask_threshold", "overlap_threshold", *(f"PQ, {header}" for header in headers)]
        blocks.append(tabulate(rows, names, floatfmt=("", "g", "g", ".2f", ".2f")))
    if found.classes:
        rows = [
            [one.name, f"{one.before:.3g}", f"{one.after:.3g}", *(_change(one.f1[part]) for part in PARTS)]
            for one in found.classes
        ]
        rows.append(["mean", "", "", *(_change(found.mean_f1(part)) for part in PARTS)])
        names = ["class", "score before", "after", *(f"F1 of {found.shape}, {header}" for header in headers)]
        blocks.append(tabulate(rows, names, disable_numparse=True))
    return blocks


def _change(f1: "Comparison") -> str:
    return "no objects" if f1.before != f1.before else f"{f1.before:.2f} -> {f1.after:.2f}"  # nan is not itself


if __name__ == "__main__":
    sys.exit(main())

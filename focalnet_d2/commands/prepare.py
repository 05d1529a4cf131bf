"""`focalnet-d2 prepare`: makes the label files that a data set lacks, from the downloaded ones.

    focalnet-d2 prepare ade20k --workers 8
    focalnet-d2 prepare coco-semantic --workers 8

A killed run continues when it is started again; what is complete is left alone. docs/datasets.md lists the folders.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from focalnet_d2.utils.usable_cores import usable_cores

from .arguments import at_least_one
from .errors import run_command

SPLITS = ("train", "val")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data_sets = parser.add_subparsers(required=True, metavar="{ade20k,coco-semantic}")
    _add_ade20k(data_sets)
    _add_coco_semantic(data_sets)
    return run_command(parser, _prepare, arguments)


def _add_ade20k(data_sets: argparse._SubParsersAction) -> None:
    parser = data_sets.add_parser("ade20k", help="semantic, panoptic and instance files of ADE20K")
    _add_common_options(parser, "prepare_ade20k")
    parser.add_argument(
        "--tasks",
        nargs="+",
        default=argparse.SUPPRESS,
        metavar="TASK",
        help="semantic, panoptic, instance; default: all",
    )
    parser.add_argument(
        "--published-areas",
        action="store_true",
        help="areas and boxes in the panoptic file as they were before things covered the stuff, which is how the "
        "published file has them; default: those of the final pixels",
    )


def _add_coco_semantic(data_sets: argparse._SubParsersAction) -> None:
    """Training and evaluation work without these files, by deriving the labels when an image is read."""
    parser = data_sets.add_parser(
        "coco-semantic", help="semantic labels of COCO's 133 classes: not needed, but faster to read"
    )
    _add_common_options(parser, "prepare_coco_semantic")


def _add_common_options(parser: argparse.ArgumentParser, prepare: str) -> None:
    """Options of every data set; `prepare` names the function of `focalnet_d2.data.preparation`."""
    parser.set_defaults(prepare=prepare)
    parser.add_argument("--root", help="folder of all data sets; default: $DETECTRON2_DATASETS, else datasets")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS, help="default: both")
    parser.add_argument("--workers", type=at_least_one, default=usable_cores(), help="processes; default: %(default)s")


def _prepare(options: argparse.Namespace) -> None:
    """Call the preparation with its options as keywords."""
    from focalnet_d2.data import preparation  # not at the top: --help does without torch
    from focalnet_d2.data.datasets import datasets_root  # not at the top: --help does without torch

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keywords = {name: value for name, value in vars(options).items() if name not in ("prepare", "root", "debug")}
    try:
        getattr(preparation, options.prepare)(options.root or datasets_root(), **keywords)
    except RuntimeError as error:  # a worker process died
        raise ChildProcessError(str(error)) from error
    except KeyboardInterrupt:
        sys.stderr.write("The same command continues here. ")
        raise


if __name__ == "__main__":
    sys.exit(main())

"""`focalnet-d2 export`: writes a trained model as a file that other runtimes run.

    focalnet-d2 export output/mine/model_best.pth --format onnx --out panoptic.onnx
    focalnet-d2 export output/mine/model_best.pth --format openvino --half
    focalnet-d2 export output/mine/model_best.pth --format pt2 --size 800x1333

The file holds the preprocessing, the classes, the thresholds and what makes results of its tensors:
`focalnet-d2-runtime FILE IMAGES --out DIR` predicts with it on machines without PyTorch. It takes any number and size
of images, but with --size, which some formats need. It is compared with the model before it is moved into place.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from .arguments import at_least_one, file_to_write
from .errors import run_command

_SIZE = re.compile(r"(\d+)x(\d+)")
NAMES = ("onnx", "openvino", "torchscript", "pt2")  # of focalnet_d2.export.formats, whose import takes torch


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_command(_parser(), _export, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="file of a run; any other with --recipe")
    parser.add_argument("--format", choices=NAMES, default="onnx", help="what to write (default: %(default)s)")
    parser.add_argument("--out", type=file_to_write, metavar="FILE", help="by default named like CHECKPOINT, beside it")
    parser.add_argument("--recipe", help="name or path, for a file that holds no recipe")
    parser.add_argument("--size", type=image_size, metavar="HxW", help="the one size of images that the file takes")
    parser.add_argument("--batch", type=at_least_one, metavar="N", help="their number, with --size (default: 1)")
    parser.add_argument("--half", action="store_true", help="weights of 16 bits: half the size of the file")
    parser.add_argument(
        "--int8", type=Path, metavar="FOLDER", help="8-bit integers, calibrated on the images of a folder"
    )
    parser.add_argument("--threshold", type=float, help="lowest score of an object that the file asks for")
    parser.add_argument("--trust", action="store_true", help="the recipe may build anything, as a program may")
    return parser


def image_size(text: str) -> tuple[int, int]:
    """Height and width from "800x1333"; the message for others is argparse's to print."""
    found = _SIZE.fullmatch(text)
    if not found or not (int(found[1]) and int(found[2])):
        raise argparse.ArgumentTypeError(f"{text!r} is no height and width such as 800x1333.")
    return int(found[1]), int(found[2])


def _export(options: argparse.Namespace) -> None:
    """Loads, writes, checks and reports.

    Raises:
        ValueError: the checkpoint or the options cannot be used.
    """
    from focalnet_d2.export.from_checkpoint import export_checkpoint  # not at the top: --help does without torch

    written = export_checkpoint(
        options.checkpoint, options.out, recipe=options.recipe, format=options.format, size=options.size,
        batch_size=options.batch, half=options.half, calibration=options.int8, threshold=options.threshold,
        trust=options.trust,
    )  # fmt: skip
    about = written.description
    takes = "any number and size of images"
    if about.size is not None:
        takes = f"{about.batch_size} x {about.size[0]} x {about.size[1]} pixels only"
    print(f"{written.path}: {about.model} in {about.precision}, {written.bytes / 2**20:.1f} MiB")
    print(f"  takes {takes}; gives what {', '.join(about.tasks)} needs")
    if about.precision == "int8":  # of random images, that of single values says nothing
        print("  runs; what 8-bit integers cost is seen on annotated images (docs/export.md, Accuracy)")
    else:
        print(f"  largest difference from PyTorch: {written.difference:.2g} of the spread of an output's values")

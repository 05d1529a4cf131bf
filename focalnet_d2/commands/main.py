"""The command `focalnet-d2`: hands over to one module for each subcommand."""

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from focalnet_d2.version import __version__

from .errors import DEBUG, end_with_one_line


class Command(NamedTuple):
    """A subcommand; `module` has `main(arguments) -> exit status` and is imported only when asked for."""

    module: str
    summary: str


COMMANDS = {
    "train": Command("focalnet_d2.commands.train", "trains a recipe"),
    "replay": Command("focalnet_d2.commands.replay", "does a step again whose losses were not finite, and says why"),
    "evaluate": Command("focalnet_d2.commands.evaluate", "evaluates weights on a recipe's test data"),
    "verify": Command("focalnet_d2.commands.verify", "checks that runs of a recipe are what they promise"),
    "plan": Command("focalnet_d2.commands.plan", "tells how much memory a training takes, and what fits"),
    "predict": Command("focalnet_d2.commands.predict", "predicts from a checkpoint: JSON, PNGs and pictures"),
    "explain": Command("focalnet_d2.commands.explain", "shows why an image is predicted as it is"),
    "tune": Command("focalnet_d2.commands.tune", "finds the best thresholds of a checkpoint on annotated images"),
    "export": Command("focalnet_d2.commands.export", "writes a trained model as ONNX, OpenVINO, TorchScript or pt2"),
    "inspect": Command("focalnet_d2.commands.inspect", "tells what a checkpoint is and which recipes it fits"),
    "convert": Command("focalnet_d2.commands.convert", "writes a checkpoint in another layout"),
    "zoo": Command("focalnet_d2.commands.zoo", "lists the recipes and their weights, or fetches weights"),
    "runtime": Command("focalnet_d2.commands.runtime", "predicts with an exported model, without PyTorch"),
    "report": Command("focalnet_d2.commands.report", "writes a page about a run, or compares runs"),
    "score": Command("focalnet_d2.commands.score", "scores result files in the official formats"),
    "prepare": Command("focalnet_d2.commands.prepare", "makes the label files that a data set lacks"),
    "pack": Command("focalnet_d2.commands.pack", "writes a data set with its images in shards"),
    "generate": Command("focalnet_d2.commands.generate", "writes a generated data set"),
    "check-data": Command("focalnet_d2.commands.check_data", "finds what is wrong with a data set"),
    "doctor": Command(
        "focalnet_d2.commands.doctor", "what is installed, what falls back and why, with the fix for each"
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status."""
    listing = "\n".join(f"  {name:<10}  {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="focalnet-d2",
        epilog=f"commands:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"focalnet-d2 {__version__}")
    parser.add_argument("command", nargs="?", metavar="command", help="one of those below")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="handed to it; `focalnet-d2 COMMAND --help` lists them"
    )
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    if options.command not in COMMANDS:
        near = difflib.get_close_matches(options.command, COMMANDS, n=1) or list(COMMANDS)
        parser.error(f"There is no command '{options.command}': try {', '.join(near)}.")
    return run_subcommand(options.command, options.arguments)


def run_subcommand(name: str, arguments: Sequence[str]) -> int:
    """Import and run a subcommand; without Detectron2 the import fails, which says in short how to install it."""

    def run() -> int:
        return importlib.import_module(COMMANDS[name].module).main(arguments)

    return end_with_one_line(run, debug=DEBUG in arguments)


if __name__ == "__main__":
    sys.exit(main())

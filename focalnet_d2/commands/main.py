"""The command `focalnet-d2`: hands over to one module for each subcommand."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from focalnet_d2 import __version__


@dataclass(frozen=True)
class Command:
    """A subcommand; `module` has `main(arguments) -> exit status` and is imported only when asked for."""

    module: str
    summary: str


COMMANDS = {
    "doctor": Command(
        "focalnet_d2.commands.doctor", "what is installed, what falls back and why, with the fix for each"
    ),
    "generate": Command("focalnet_d2.commands.generate", "writes a generated data set"),
    "inspect": Command("focalnet_d2.commands.inspect", "tells what a checkpoint is and which recipes it fits"),
    "convert": Command("focalnet_d2.commands.convert", "writes a checkpoint in another layout"),
    "zoo": Command("focalnet_d2.commands.zoo", "lists the recipes and their weights, or fetches weights"),
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
    parser.add_argument("command", choices=COMMANDS, metavar="command", help="one of those below")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="handed to it; `focalnet-d2 COMMAND --help` lists them"
    )
    options = parser.parse_args(arguments)
    return importlib.import_module(COMMANDS[options.command].module).main(options.arguments)


if __name__ == "__main__":
    sys.exit(main())

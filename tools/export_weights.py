"""Writes the weights of a checkpoint alone, as safetensors: for sharing, and for starting other runs.

    python tools/export_weights.py output/run/model_final.pth model.safetensors --half

A run with averaged weights (EMA) exports those. Class names and settings travel in the file's header.
"""

import argparse
import sys
from pathlib import Path

from focalnet_d2.checkpoint import read_checkpoint, save_weights
from focalnet_d2.commands.errors import run_command


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint of a run")
    parser.add_argument("weights", type=Path, help="the .safetensors file to write")
    parser.add_argument("--half", action="store_true", help="float16: half the size; loading widens it again")
    return run_command(parser, export)


def export(options: argparse.Namespace) -> None:
    """Read, narrow and write."""
    content = read_checkpoint(options.checkpoint)
    weights = content["model"]
    if options.half:
        weights = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    save_weights(options.weights, weights, content.get("metadata"))
    print(f"{options.weights}: {len(weights)} tensors, {options.weights.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())

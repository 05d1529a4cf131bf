"""Writes the weights of a checkpoint alone, as safetensors: for sharing, and for starting other runs.

    python tools/export_weights.py output/run/model_final.pth model.safetensors --half

A run with averaged weights (EMA) exports those. Class names and settings travel in the file's header.
"""

import argparse
from pathlib import Path

from focalnet_d2.checkpoint import read_checkpoint, save_weights


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint of a run")
    parser.add_argument("weights", type=Path, help="the .safetensors file to write")
    parser.add_argument("--half", action="store_true", help="float16: half the size; loading widens it again")
    arguments = parser.parse_args()
    content = read_checkpoint(arguments.checkpoint)
    weights = content["model"]
    if arguments.half:
        weights = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    save_weights(arguments.weights, weights, content.get("metadata"))
    print(f"{arguments.weights}: {len(weights)} tensors, {arguments.weights.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

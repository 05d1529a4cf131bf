"""`focalnet-d2 convert`: writes a checkpoint in another layout.

    focalnet-d2 convert FILE OUT --to FocalNet-DINO --recipe dino_focalnet_large_fl4_5scale_12ep

OUT ends in .safetensors or .pth. The file must fill the model of the recipe (by default the first shipped one that it
fits), and is then written in this project's own layout, or in one that the model's family is published in.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import run_command

if TYPE_CHECKING:
    from torch import nn  # not at the top: --help does without torch

OWN = "focalnet_d2"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_command(_parser(), _inspect_or_convert, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="a checkpoint of any known layout")
    parser.add_argument("out", type=Path, nargs="?", help="file to write, .safetensors or .pth")
    parser.add_argument("--inspect", action="store_true", help="only tell what FILE is and which recipes it fits")
    parser.add_argument("--to", default=OWN, help="layout to write, such as FocalNet-DINO (default: %(default)s)")
    parser.add_argument("--recipe", help="shipped recipe, or file of one, whose model FILE fills")
    parser.add_argument("--backbone-only", action="store_true", help="write the FocalNet of FILE alone")
    parser.add_argument("--ema", action="store_true", help="take the averaged weights of FILE")
    parser.add_argument(
        "--keep-settings", action="store_true", help="settings that no shape shows may differ: the recipe's are kept"
    )
    parser.add_argument("--entry", default="", help="entry of FILE that holds the weights, where there are several")
    parser.add_argument("--allow-nonfinite", action="store_true", help="take weights that are NaN or infinite, too")
    parser.add_argument("--trust", action="store_true", help="a YAML recipe may build anything, as a program may")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    return parser


def _inspect_or_convert(options: argparse.Namespace) -> None:
    if options.inspect:
        from focalnet_d2.model_zoo.inspection import inspect_checkpoint  # not at the top: --help does without torch

        print(inspect_checkpoint(options.file, entry=options.entry))
    else:
        _convert(options)


def _convert(options: argparse.Namespace) -> None:
    """Loads, writes and reports.

    Raises:
        ValueError: the file does not fit, or cannot be written in the layout or under the name.
        FileExistsError: OUT exists.
    """
    from focalnet_d2.checkpoint.export import (
        SUFFIXES,
        export_state,
        save_as,
    )  # not at the top: --help does without torch
    from focalnet_d2.checkpoint.loading import (
        checkpoint_metadata,
        load_checkpoint,
    )  # not at the top: --help does without torch
    from focalnet_d2.checkpoint.reading import read_checkpoint  # not at the top: --help does without torch

    out = options.out
    if out is None or out.suffix not in SUFFIXES:
        raise ValueError(f"Give a file to write that ends in {' or '.join(SUFFIXES)}, or --inspect.")
    if out.exists() and not options.force:
        raise FileExistsError(f"{out} exists: --force overwrites it.")
    model = _build(options)
    names = _class_names(read_checkpoint(options.file))
    report = load_checkpoint(
        model,
        options.file,
        keep_settings=options.keep_settings,
        ema=options.ema,
        entry=options.entry,
        allow_nonfinite=options.allow_nonfinite,
        complete=not options.backbone_only,
    )
    if options.to == OWN:
        metadata, notes = checkpoint_metadata(model, names), []
        save_as(out, {"model": model.state_dict(), "metadata": metadata}, model.state_dict(), metadata)
    else:
        exported = export_state(model, options.to, class_names=names, keep_settings=options.keep_settings)
        exported.save(out)
        notes = exported.notes
    written = [f"{out}: {options.to} layout, {out.stat().st_size / 1e6:.1f} MB"]
    print("\n".join([str(report), *written, *(f"  note: {note}" for note in notes)]))


def _build(options: argparse.Namespace) -> "nn.Module":
    """The model of the recipe, or its FocalNet."""
    from detectron2.config import instantiate  # not at the top: --help does without torch

    from focalnet_d2.config.lazy import load_recipe  # not at the top: --help does without torch
    from focalnet_d2.model_zoo.inspection import focalnet_node  # not at the top: --help does without torch

    recipe = options.recipe or _fitting_recipe(options)
    model = load_recipe(recipe, trust=options.trust).model
    return instantiate(focalnet_node(model) if options.backbone_only else model).eval()


def _fitting_recipe(options: argparse.Namespace) -> str:
    from focalnet_d2.model_zoo.inspection import inspect_checkpoint  # not at the top: --help does without torch

    found = inspect_checkpoint(options.file, entry=options.entry)
    recipes = found.fits + (found.starts if options.backbone_only else [])
    if not recipes:
        reasons = "".join(f"; {name}: {reason}" for name, reason in list(found.refused.items())[:1])
        raise ValueError(f"{options.file} fits no shipped recipe{reasons}: give one with --recipe.")
    return recipes[0]


def _class_names(content: Mapping[str, Any]) -> list[str] | None:
    """The class names that one of our own files notes."""
    return content["metadata"].get("thing_classes") if isinstance(content.get("metadata"), Mapping) else None


if __name__ == "__main__":
    sys.exit(main())

"""`focalnet-d2 plan`: how much memory a training takes, and which settings fit into what there is.

    focalnet-d2 plan mask2former_focalnet_tiny_lrf_coco_panoptic --memory 24GB
    focalnet-d2 plan dino_focalnet_mini_quickstart data=path/to/data --memory 8GiB --processes 2

One training step is run on tensors that have shapes and no values, so neither a GPU nor the memory itself is needed.
Images are as large as the augmentations of the recipe make them, and objects as many as the data or --objects say.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from focalnet_d2.config.memory_size import RESERVE, gib, memory_size

from .arguments import at_least_one
from .errors import run_command

if TYPE_CHECKING:
    from focalnet_d2.planning.planner import Way  # not at the top: --help does without torch


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="focalnet-d2 plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", metavar="RECIPE", help="path or name of a recipe, or the folder of a run")
    parser.add_argument("--memory", type=_size, required=True, metavar="SIZE", help="of a device, e.g. 24GB")
    parser.add_argument(
        "--reserve", type=_share, default=RESERVE, metavar="SHARE", help=f"of it that is left free (default: {RESERVE})"
    )
    parser.add_argument("--processes", type=at_least_one, default=1, help="devices that share the batch")
    parser.add_argument("--objects", type=at_least_one, default=20, help="of an image, without data (default: 20)")
    parser.add_argument("--trust", action="store_true", help="a YAML recipe may build anything, as a program may")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. data=path/to/data")
    return run_command(parser, _plan, arguments, parse=argparse.ArgumentParser.parse_intermixed_args)


def _size(text: str) -> int:
    if (size := memory_size(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size of memory: write it as 24GB or 23.5GiB.")
    return size


def _share(text: str) -> float:
    if not 0 <= float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: it must be at least 0 and below 1.")
    return float(text)


def _plan(options: argparse.Namespace) -> None:
    from omegaconf import OmegaConf  # not at the top: --help does without torch and Detectron2

    from focalnet_d2.config.building import build  # not at the top, for the same reason
    from focalnet_d2.config.data_group import ROOT  # not at the top, for the same reason
    from focalnet_d2.engine.jobs import Job  # not at the top, for the same reason
    from focalnet_d2.planning.planner import ways_to_fit  # not at the top, for the same reason

    recipe = Job(options.recipe, tuple(options.overrides), trust=options.trust).read_recipe()
    has_data = bool(OmegaConf.select(recipe, ROOT))
    records = build(recipe.dataloader.train.dataset, "dataloader.train.dataset") if has_data else None
    budget = int(options.memory * (1 - options.reserve))
    ways = list(ways_to_fit(recipe, budget, processes=options.processes, objects=options.objects, records=records))
    print(table(ways))
    print(f"\n{verdict(ways[-1], budget)}")


def table(ways: Sequence["Way"]) -> str:
    """A row for everything that was tried."""
    rows = [
        [
            *(way.images, way.accumulation, ", ".join(_short(way.overrides)) or "as the recipe"),
            *(_gib(size) for size in _sizes(way)),
            *(f"{'' if way.memory else 'over '}{_gib(way.peak)}", "yes" if way.fits else "no"),
        ]
        for way in ways
    ]
    names = ["images at once", "parts", "settings", "weights", "optimizer", "step", "peak GiB", "fits"]
    return tabulate(rows, names, disable_numparse=True, colalign=("right", "right", "left", *["right"] * 4, "left"))


def _sizes(way: "Way") -> list[int | None]:
    memory = way.memory
    return [None] * 3 if memory is None else [memory.weights, memory.optimizer, memory.activations]


def verdict(way: "Way", budget: int) -> str:
    """What to type, or that nothing fits."""
    if way.fits:
        return f"Fits into {gib(budget)} GiB with: " + " ".join(way.settings)
    return (
        f"Nothing fits into {gib(budget)} GiB: one image with these settings needs {gib(way.peak)} GiB. Take a "
        "smaller model, smaller images (dataloader.train.mapper.augmentations), or train.parallel=fsdp."
    )


def _short(overrides: Sequence[str]) -> list[str]:
    recomputed = ["activations recomputed"] if any("use_checkpoint" in one for one in overrides) else []
    return [*recomputed, *(one for one in overrides if "use_checkpoint" not in one)]


def _gib(size: int | None) -> str:
    return "" if size is None else gib(size)


if __name__ == "__main__":
    sys.exit(main())

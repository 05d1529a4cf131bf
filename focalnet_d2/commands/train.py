"""`focalnet-d2 train`: trains a recipe, on the data sets that it names or on a folder of your own data.

    focalnet-d2 train dino_focalnet_huge --num-gpus 8
    focalnet-d2 train configs/dino_focalnet_huge.py --resume train.output_dir=output/huge
    focalnet-d2 train path/to/data --recipe dino_focalnet_mini_quickstart train.max_iter=2000
    focalnet-d2 train output/dino_focalnet_mini_quickstart --resume

Settings of the recipe are changed by key=value arguments; a key that does not exist is an error.
"""

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from focalnet_d2.config.recipe_files import RUN_RECIPE, RecipeError
from focalnet_d2.utils.stop_signals import StopSignals

from .arguments import at_least_one
from .errors import run_command

START_HELP = "path or name of a recipe, or the folder of a run; with --recipe, a folder of data"
PROCESSES = ("num_gpus", "num_processes", "num_machines", "machine_rank", "dist_url")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = recipe_parser("focalnet-d2 train", __doc__)
    parser.set_defaults(eval_only=False)
    add_resume(parser)
    return run_recipe_command(parser, arguments)


def recipe_parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """A command line that begins with a recipe, or with a folder of data and names the recipe after it."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("start", nargs="?", metavar="RECIPE|DIR", help=START_HELP)
    parser.add_argument("--recipe", metavar="RECIPE", help="the recipe for the data in DIR, which is looked at")
    add_run_options(parser)
    return parser


def add_resume(parser: argparse.ArgumentParser) -> None:
    """The options of a training whose folder holds an earlier one."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--resume", action="store_true", help="go on with the run in train.output_dir, else the newest unfinished one"
    )
    group.add_argument("--overwrite", action="store_true", help="remove the run in train.output_dir and start afresh")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """How many processes run where, and the settings of the recipe."""
    parser.add_argument("--num-gpus", type=at_least_one, default=1, help="GPUs of each machine, one process each")
    parser.add_argument("--num-processes", type=at_least_one, default=1, help="processes of each machine without GPUs")
    parser.add_argument("--num-machines", type=at_least_one, default=1, help="start the same command on each of them")
    parser.add_argument("--machine-rank", type=int, default=0, help="number of this machine, from 0")
    parser.add_argument("--dist-url", default="auto", help="tcp://HOST:PORT of machine 0, or auto on one machine")
    parser.add_argument("--trust", action="store_true", help="a YAML recipe may build anything, as a program may")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. train.max_iter=1000")


def run_recipe_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Parse and run; settings may stand between the options. Returns the exit status."""
    return run_command(parser, start, arguments, parse=argparse.ArgumentParser.parse_intermixed_args)


def recipe_and_folder(options: argparse.Namespace) -> tuple[str, list[str]]:
    """The recipe, and `data=DIR` where the command line begins with a folder of data.

    Raises:
        RecipeError: a folder without a recipe, a recipe for a folder without that, or neither.
    """
    if not hasattr(options, "start"):
        return options.recipe, []
    first: str | None = options.start
    if options.recipe is not None:
        if first is None or ("=" in first and not os.path.isdir(first)):
            raise RecipeError(
                f"--recipe {options.recipe} needs a folder of data before it, as in DIR --recipe {options.recipe}; for "
                f"the data sets that the recipe names, write {options.recipe} without --recipe."
            )
        return options.recipe, [f"data={first}"]
    if first is None:
        raise RecipeError("Name a recipe, or a folder of data and --recipe RECIPE (--help shows how).")
    if os.path.isdir(first) and not os.path.isfile(os.path.join(first, RUN_RECIPE)):
        raise RecipeError(
            f"{first} is a folder: to train or to evaluate on the data in it, name a recipe, too, as in "
            f"--recipe dino_focalnet_mini_quickstart; it is no folder of a run, which would have a {RUN_RECIPE}."
        )
    return first, []


def start(options: argparse.Namespace) -> dict[str, Any] | None:
    """Train or evaluate as parsed; returns the results of an evaluation in this process.

    Raises:
        RecipeError: unknown recipe or setting, or GPUs asked for on a device without.
    """
    with StopSignals():  # also while modules are imported, which takes seconds
        return _launch(options)


def _launch(options: argparse.Namespace) -> dict[str, Any] | None:
    from focalnet_d2.engine.jobs import Job, launch_job  # not at the top: --help does without torch and Detectron2

    recipe, folder = recipe_and_folder(options)
    job = Job(
        recipe,
        (*folder, *options.overrides),
        evaluate_only=options.eval_only,
        resume=options.resume,
        trust=options.trust,
        overwrite=options.overwrite,
        report=_report,
        planner=_settings_that_fit,
        pictures=_LatePictures(),
    )
    return launch_job(job, **{name: getattr(options, name) for name in PROCESSES})


def _settings_that_fit(recipe: Any, records: Any) -> Sequence[str]:
    from focalnet_d2.planning.batch_choice import settings_that_fit  # not at the top: few runs plan their batch

    return settings_that_fit(recipe, records)


def _report(folder: Path) -> None:
    try:
        from focalnet_d2.run_reports.run_page import report_finished_run  # not at the top: a run starts without it
    except Exception as error:  # of any kind: the run is complete, perhaps after the package was changed on the disk
        logging.getLogger(__name__).warning(
            "No report was written (%s): try `focalnet-d2 report %s`.", error, shlex.quote(str(folder))
        )
        return
    report_finished_run(folder)


class _LatePictures:
    """`TrainingPictures`, for which plotting is imported when the first picture is drawn."""

    @cached_property
    def _pictures(self) -> Any:
        from focalnet_d2.run_reports.training_pictures import TrainingPictures  # not at the top: see above

        return TrainingPictures()

    def targets(self, sample: Mapping[str, Any], classes: Any) -> Any:
        """As `engine.pictures.Pictures`."""
        return self._pictures.targets(sample, classes)

    def results(self, sample: Mapping[str, Any], result: Mapping[str, Any], classes: Any, threshold: float) -> Any:
        """As `engine.pictures.Pictures`."""
        return self._pictures.results(sample, result, classes, threshold)

    def write(self, path: Path, groups: Any, titles: Sequence[str], captions: Sequence[str]) -> None:
        """As `engine.pictures.Pictures`."""
        self._pictures.write(path, groups, titles, captions)


if __name__ == "__main__":
    sys.exit(main())

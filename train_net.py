"""Trains or evaluates a recipe.

    python train_net.py --config-file dino_focalnet_huge --num-gpus 8
    python train_net.py --config-file configs/dino_focalnet_huge.py --eval-only train.init_checkpoint=model.pth
    torchrun --nproc-per-node 8 train_net.py --config-file dino_focalnet_huge train.amp=auto

Settings of the recipe are changed by key=value arguments; a key that does not exist is an error.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe
from focalnet_d2.engine.device import resolve_device
from focalnet_d2.engine.distributed import launch
from focalnet_d2.engine.run import build_model, build_trainer, evaluate, load_initial_weights, start_run

logger = logging.getLogger("focalnet_d2.train_net")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="train_net.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="RECIPE", help="path, or name of a shipped recipe")
    parser.add_argument("--eval-only", action="store_true", help="evaluate train.init_checkpoint, do not train")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in train.output_dir")
    parser.add_argument("--num-gpus", type=int, default=1, help="GPUs of each machine, one process each")
    parser.add_argument("--num-processes", type=int, default=1, help="processes of each machine without GPUs")
    parser.add_argument("--num-machines", type=int, default=1, help="start the same command on each of them")
    parser.add_argument("--machine-rank", type=int, default=0, help="number of this machine, from 0")
    parser.add_argument("--dist-url", default="auto", help="tcp://HOST:PORT of machine 0, or auto on one machine")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, e.g. train.max_iter=1000")
    return parser


def do_train(recipe: DictConfig, *, resume: bool) -> None:
    """Train from `train.init_checkpoint`, or go on where the last run in the folder stopped."""
    model = build_model(recipe)
    if not resume:
        load_initial_weights(model, recipe, to_train=True)
    trainer, start_iteration = build_trainer(model, recipe, resume=resume)
    trainer.train(start_iteration, recipe.train.max_iter)


def do_test(recipe: DictConfig) -> dict:
    """Evaluate `train.init_checkpoint`."""
    if not recipe.train.init_checkpoint:
        raise RecipeError("--eval-only needs weights: add train.init_checkpoint=FILE.")
    model = build_model(recipe)
    load_initial_weights(model, recipe, to_train=False)
    return evaluate(model, recipe)


def run(args: argparse.Namespace) -> dict | None:
    """One process of the run; returns the results of `--eval-only`."""
    recipe = read_recipe(args)
    start_run(recipe)
    logger.info("recipe %s %s", args.config_file, " ".join(args.overrides))
    return do_test(recipe) if args.eval_only else do_train(recipe, resume=args.resume)


def read_recipe(args: argparse.Namespace) -> DictConfig:
    """The recipe with the overrides of the command line."""
    return apply_overrides(load_recipe(args.config_file), args.overrides)


def main(argv: Sequence[str] | None = None) -> dict | None:
    """Parse the command line and run, in as many processes as it asks for.

    Returns:
        The results of `--eval-only` in a run of one process, otherwise None.

    Raises:
        RecipeError: unknown recipe or setting, or GPUs asked for on a device without.
    """
    args = build_parser().parse_intermixed_args(argv)
    device = resolve_device(read_recipe(args).train.device)
    use_cuda = device.type == "cuda"
    if args.num_gpus > 1 and not use_cuda:
        raise RecipeError(f"--num-gpus {args.num_gpus}, but this run is on {device}: use --num-processes there.")
    return launch(
        run,
        num_processes=args.num_gpus if use_cuda else args.num_processes,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        use_cuda=use_cuda,
        args=(args,),
    )


if __name__ == "__main__":
    try:
        main()
    except RecipeError as error:
        sys.exit(f"error: {error}")

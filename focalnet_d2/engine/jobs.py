"""What a training or an evaluation does with a recipe, in as many processes as it asks for."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe

from .device import resolve_device
from .distributed import launch
from .preflight import check_tasks, read_data
from .run import build_model, build_trainer, evaluate, load_initial_weights, start_run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A recipe to train or to evaluate; travels to the processes of the run.

    Attributes:
        recipe: path, or name of a shipped recipe.
        overrides: `key=value` settings.
        evaluate_only: evaluate `train.init_checkpoint`, do not train.
        resume: continue from the last checkpoint in `train.output_dir`.
        trust: a YAML recipe may build anything.
    """

    recipe: str | Path
    overrides: Sequence[str] = ()
    evaluate_only: bool = False
    resume: bool = False
    trust: bool = False

    def read_recipe(self) -> DictConfig:
        """The recipe with its overrides.

        Raises:
            RecipeError: unknown recipe or setting, or a YAML recipe that needs trust.
        """
        return apply_overrides(load_recipe(self.recipe, trust=self.trust), self.overrides)


def launch_job(
    job: Job,
    *,
    num_gpus: int = 1,
    num_processes: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
) -> dict[str, Any] | None:
    """Run a job in processes of its own, or in this one if it is the only one.

    Args:
        num_gpus: processes of each machine on CUDA, one GPU each.
        num_processes: processes of each machine on any other device.
        num_machines, machine_rank, dist_url: see `engine.distributed.launch`.

    Returns:
        The results of an evaluation in a run of one process, otherwise None.

    Raises:
        RecipeError: unknown recipe or setting, or GPUs asked for on a device without.
    """
    device = resolve_device(job.read_recipe().train.device)
    use_cuda = device.type == "cuda"
    if num_gpus > 1 and not use_cuda:
        raise RecipeError(f"--num-gpus {num_gpus} was given, but this run is on {device}: use --num-processes there.")
    return launch(
        run_job,
        num_processes=num_gpus if use_cuda else num_processes,
        num_machines=num_machines,
        machine_rank=machine_rank,
        dist_url=dist_url,
        use_cuda=use_cuda,
        args=(job,),
    )


def run_job(job: Job) -> dict[str, Any] | None:
    """One process of a job; returns the results of an evaluation."""
    recipe = job.read_recipe()
    start_run(recipe)
    logger.info("recipe %s %s", job.recipe, " ".join(job.overrides))
    return do_test(recipe) if job.evaluate_only else do_train(recipe, resume=job.resume)


def do_train(recipe: DictConfig, *, resume: bool) -> None:
    """Train from `train.init_checkpoint`, or go on where the last run in the folder stopped."""
    data = read_data(recipe, to_train=True)
    model = build_model(recipe)
    if not resume:
        load_initial_weights(model, recipe, to_train=True)
    trainer, start_iteration = build_trainer(model, recipe, resume=resume, data=data)
    trainer.train(start_iteration, recipe.train.max_iter)


def do_test(recipe: DictConfig) -> dict[str, Any]:
    """Evaluate `train.init_checkpoint`.

    Raises:
        RecipeError: the recipe names no weights.
    """
    if not recipe.train.init_checkpoint:
        raise RecipeError("An evaluation needs weights: add train.init_checkpoint=FILE.")
    data = read_data(recipe, to_train=False)
    model = build_model(recipe)
    check_tasks(model, data.evaluator)
    load_initial_weights(model, recipe, to_train=False)
    return evaluate(model, recipe, data)

"""What a training or an evaluation does with a recipe, in as many processes as it asks for."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.utils import comm
from omegaconf import DictConfig

from focalnet_d2.config.data_group import is_of_data
from focalnet_d2.config.lazy import RecipeError, apply_overrides, find_recipe, recipe_to_yaml
from focalnet_d2.config.recipe_check import check_complete
from focalnet_d2.config.recipe_files import RUN_RECIPE, default_folder
from focalnet_d2.utils.stop_signals import StopSignals
from focalnet_d2.utils.text import some_of

from .augmentation_files import keep_pipeline
from .batch_parts import Planner, fit_batch
from .checkpointing import LAST, describe_run
from .data_report import log_data, warn_of_changed_folder
from .device import resolve_device
from .distributed import launch, local_rank, on_main_process, process_count
from .environment import note_end, note_start
from .loggers import logger_names
from .metrics import METRICS, is_evaluated
from .own_data import apply_settings, read_settings, source_of, write_split
from .patience import why_ended
from .pictures import Pictures
from .preflight import check_tasks, read_data
from .run import (
    build_model,
    build_trainer,
    evaluate,
    evaluate_suppressed,
    load_initial_weights,
    start_run,
    write_recipe,
)
from .run_folder import (
    RunIdentity,
    evaluation_folder,
    locked,
    new_run_id,
    read_identity,
    remove_run,
    require_checkpoint,
    require_free,
    require_one_run,
    run_of_recipe,
    weights_to_score,
)
from .run_numbers import RunStatus, enter_next, enter_unfinished, runs_to_resume
from .stopping import stop_if_asked

FOLDER = "train.output_dir"
EARLY = "before the first step: nothing was saved, so the same command starts it again"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A recipe to train or to evaluate; travels to the processes of the run.

    Attributes:
        recipe: path, folder of a run, or name of a shipped recipe.
        overrides: `key=value` settings.
        evaluate_only: evaluate, do not train: `train.init_checkpoint`, or for the recipe of a run its best weights.
        resume: continue from the last checkpoint in `train.output_dir`, or where none is named in the folder of the
            recipe's newest run that is not complete.
        trust: a YAML recipe may build anything.
        overwrite: remove the run in `train.output_dir` and start another.
        report: called with the folder when a training is complete and wants one (`train.report`), on the main process
            alone, while the folder is still locked; a function of a module, and one that raises nothing.
        planner: chooses settings for `train.batch`; a function of a module.
        pictures: draws those of a training.
    """

    recipe: str | Path
    overrides: Sequence[str] = ()
    evaluate_only: bool = False
    resume: bool = False
    trust: bool = False
    overwrite: bool = False
    report: Callable[[Path], None] | None = None
    planner: Planner | None = None
    pictures: Pictures | None = None

    @cached_property
    def written(self) -> DictConfig:
        """The recipe as it is written. A Python recipe is a program, which each process of a run executes once."""
        return source_of(self.recipe, trust=self.trust)

    @property
    def source(self) -> DictConfig:
        """A copy of the recipe without overrides; that of a run works where it lies, not where the run began."""
        recipe = self.written.copy()
        if self.moved_from:
            recipe.train.output_dir = str(self.run_folder)
        return recipe

    @cached_property
    def run_folder(self) -> Path | None:
        """The folder of the run whose `recipe.yaml` the recipe is."""
        return run_of_recipe(find_recipe(self.recipe))

    @property
    def moved_from(self) -> str:
        """The folder that the recipe of a run still names, which now lies in another one; "" for all others."""
        named = self.written.train.output_dir
        return named if self.run_folder is not None and Path(named).resolve() != self.run_folder else ""

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def numbered_folder(self) -> Path | None:
        """The folder of the recipe's first run, where none was named, so that its runs are numbered."""
        is_named = self.run_folder is not None or any(
            _places(override) and override.partition("=")[2].strip("'\"") for override in self.overrides
        )
        folder = self._train(self.overrides).output_dir
        return None if is_named or folder != default_folder(find_recipe(self.recipe)) else Path(folder)

    @cached_property
    def named_data(self) -> str | None:
        """The folder of data that was named; None where none was."""
        if not (overrides := [text for text in self.overrides if is_of_data(text)]):
            return None
        root = apply_overrides(self.source, overrides, trust=self.trust).data.root
        return str(Path(os.path.expanduser(root)).absolute()) if root else ""

    def runs_to_resume(self) -> list[RunStatus]:
        """The numbered runs with which the job may go on, the first choice first (`run_numbers.py`)."""
        assert self.numbered_folder is not None
        return runs_to_resume(self.numbered_folder, self.recipe, self.named_data)

    def folder(self) -> Path:
        """Where the job starts to look: its folder unless that is numbered, else the first choice of a resumed run."""
        if self.resume and self.numbered_folder is not None:
            return self.runs_to_resume()[0].folder
        return Path(self._train(self.overrides).output_dir)

    def train_settings(self) -> DictConfig:
        """The group `train` with its overrides, before anything looks at data."""
        return self._train(self.all_overrides(self.folder()))

    def _train(self, overrides: Sequence[str]) -> DictConfig:
        of_train = [text for text in overrides if text.partition("=")[0].partition(".")[0] == "train"]
        return apply_overrides(self.source, of_train, trust=self.trust).train

    def all_overrides(self, folder: Path) -> tuple[str, ...]:
        """The overrides of the earlier starts of the run in the folder, if it is resumed, and then the job's own.

        Of the earlier ones those of the group `data` are left out: the run's recipe has the whole group.
        """
        identity = read_identity(folder) if self._goes_on_in(folder) else None
        if identity is None:
            return tuple(self.overrides)
        overrides = identity.continued(self.overrides).overrides
        return tuple(text for text in overrides if text in self.overrides or not (_places(text) or is_of_data(text)))

    def is_typed(self, key: str) -> bool:
        """Whether one of the job's own overrides sets this key."""
        return any(text.partition("=")[0] == key for text in self.overrides)

    def _goes_on_in(self, folder: Path) -> bool:
        """Whether the job resumes a run by another recipe than the one in its folder, which has all settings."""
        return self.resume and find_recipe(self.recipe) != (folder / RUN_RECIPE).resolve()

    def read_recipe(self, folder: Path | None = None) -> DictConfig:
        """The recipe with its overrides and the data set of its group `data`; all ranks have to call it together.

        Args:
            folder: of the run, where it is known already.

        Raises:
            RecipeError: unknown recipe or setting, one that is missing, or a recipe or override that needs trust.
            FileNotFoundError, ValueError: the folder of `data` cannot be used, or a run has no weights to evaluate.
        """
        folder = folder or self.folder()
        recipe = apply_settings(
            self.source,
            self.all_overrides(folder),
            trust=self.trust,
            evaluate_only=self.evaluate_only,
            earlier=read_settings(folder / RUN_RECIPE) if self._goes_on_in(folder) else None,
        )
        if self.evaluate_only and self.run_folder is not None and not self.is_typed("train.init_checkpoint"):
            recipe.train.init_checkpoint = str(weights_to_score(self.run_folder))
        if self.resume and self.numbered_folder is not None:
            recipe.train.output_dir = str(folder)
        check_complete(recipe)
        return recipe


class Place(NamedTuple):
    """Where a job works.

    Attributes:
        folder: which is locked.
        run: id of the run there.
        about: a sentence about the choice of the folder, or "".
    """

    folder: Path
    run: str
    about: str = ""


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
    device = resolve_device(job.train_settings().device)
    return launch(
        run_job,
        num_processes=process_count(device, num_gpus=num_gpus, num_processes=num_processes),
        num_machines=num_machines,
        machine_rank=machine_rank,
        dist_url=dist_url,
        use_cuda=device.type == "cuda",
        args=(job,),
    )


def run_job(job: Job) -> dict[str, Any] | None:
    """One process of a job; returns the results of an evaluation.

    Raises:
        RunStopped: a signal ended it.
    """
    with ExitStack() as stack:
        stack.enter_context(StopSignals())
        place = on_main_process(lambda: _enter_resumed(stack, job)) if job.resume else None
        recipe = job.read_recipe(place.folder if place else None)
        if place is None:
            place = on_main_process(lambda: _enter_new(stack, job, Path(recipe.train.output_dir)))
        recipe.train.output_dir = str(place.folder)
        start_run(recipe)
        logger.info("recipe %s %s, in %s", job.recipe, " ".join(job.overrides), recipe.train.output_dir)
        if place.about:
            logger.info("%s", place.about)
        if job.moved_from and not job.is_typed(FOLDER):
            logger.info("The run lies in %s; its recipe names %s, which is left alone.", job.run_folder, job.moved_from)
        stop_if_asked(EARLY)
        log_data(recipe)
        if job.resume:
            warn_of_changed_folder(recipe)
        return do_test(recipe) if job.evaluate_only else do_train(recipe, job, place.run)


def _enter_resumed(stack: ExitStack, job: Job) -> Place:
    """Lock the folder of the run with which the job goes on, until the stack is closed."""
    if job.numbered_folder is None:
        folder, about = job.folder(), ""
        require_checkpoint(folder)
        stack.enter_context(locked(folder))
    else:
        runs = job.runs_to_resume()
        run = enter_unfinished(stack, runs)
        folder, others = run.folder, some_of([other for other in runs if other is not run], 5)
        about = f"--resume goes on with {run}" + (f"; not complete either: {others}." if others else ".")
    return Place(folder, require_one_run(folder) or new_run_id(), about)


def _enter_new(stack: ExitStack, job: Job, folder: Path) -> Place:
    """Lock the folder of a new run or of an evaluation, until the stack is closed, and see that it may be written."""
    if job.numbered_folder is not None and not (job.overwrite or job.evaluate_only):
        folder, about = enter_next(stack, folder)
        return Place(folder, new_run_id(), about)
    if job.evaluate_only:
        folder = evaluation_folder(folder)
    stack.enter_context(locked(folder))
    if not (job.overwrite or job.evaluate_only):
        require_free(folder)
    return Place(folder, new_run_id())


def do_train(recipe: DictConfig, job: Job, run: str = "") -> None:
    """Train from `train.init_checkpoint`, or go on where the run in the folder stopped.

    Args:
        run: id of the run (`run_folder.py`).
    """
    folder = Path(recipe.train.output_dir)
    resume = job.resume and on_main_process(lambda: (folder / LAST).is_file())
    keep_pipeline(recipe)
    logger_names(recipe.train)  # what is wrong with them is an error before the data are read
    data = read_data(recipe, to_train=True, metric_is_typed=job.is_typed("train.best_metric"))
    stop_if_asked(EARLY)
    chosen = fit_batch(recipe, job.planner, data.train or (), resume=job.resume, trust=job.trust)
    stop_if_asked(EARLY)
    model = build_model(recipe)
    if not resume:
        load_initial_weights(model, recipe, to_train=True)
    stop_if_asked(EARLY)
    description = describe_run(recipe, model, run, images=len(data.train or ()))
    trainer, start = build_trainer(
        model, recipe, resume=resume, data=data, description=description, pictures=job.pictures
    )
    if on_main_process(lambda: _nothing_left(folder, start, recipe.train)):
        return
    stop_if_asked(EARLY)
    on_main_process(lambda: _begin(recipe, job, RunIdentity(run, str(job.recipe)), start, chosen))
    description["recipe"] = recipe_to_yaml(recipe)  # which has the lists of a split now
    device = resolve_device(recipe.train.device, local_rank())
    on_main_process(lambda: note_start(folder, iteration=start, device=device, data=data.summary))
    trainer.train(start, recipe.train.max_iter)
    if comm.is_main_process():
        note_end(folder, iteration=trainer.done)
        if job.report is not None and recipe.train.get("report", True):
            job.report(folder)


def _places(override: str) -> bool:
    """Whether an override says where the run is, which may have moved."""
    return override.partition("=")[0] == FOLDER


def _nothing_left(folder: Path, start: int, train: DictConfig) -> bool:
    """Whether a run is complete; says so."""
    max_iter = train.max_iter
    if start < max_iter:
        reason = why_ended(folder, train, start)
        if reason:
            logger.warning("%s", reason)
        return bool(reason)
    is_complete = start > max_iter or is_evaluated(folder / METRICS, start)
    what = "nothing is left to do" if is_complete else "only the evaluation is left to do"
    logger.warning(
        "%s holds a run of %d iterations and train.max_iter is %d: %s. Raise %s to train on.",
        *(folder, start, max_iter, what, f"train.epochs={train.epochs}" if train.get("epochs") else "train.max_iter"),
    )
    return is_complete


def _begin(recipe: DictConfig, job: Job, identity: RunIdentity, start: int, chosen: Sequence[str]) -> None:
    """Make the folder the run's, once everything is built that could still be refused.

    Args:
        chosen: settings of `fit_batch`, which count as if they were typed.
    """
    folder = Path(recipe.train.output_dir)
    if job.overwrite:
        remove_run(folder, spare=recipe.train.init_checkpoint)
    elif not start:
        if job.resume:
            logger.warning("%s has no checkpoint yet: the run starts again.", folder)
        (folder / METRICS).unlink(missing_ok=True)
    earlier = read_identity(folder) if job.resume else None
    (earlier or identity).continued(job.overrides).continued(chosen).write(folder)
    write_split(recipe, folder)
    write_recipe(recipe)


def do_test(recipe: DictConfig) -> dict[str, Any]:
    """Evaluate `train.init_checkpoint`.

    Raises:
        RecipeError: the recipe names no weights, or `train.also_with_nms` is set and the model suppresses nothing.
    """
    if not recipe.train.init_checkpoint:
        raise RecipeError("An evaluation needs weights: add train.init_checkpoint=FILE.")
    logger.info("The weights that are scored: %s", recipe.train.init_checkpoint)
    data = read_data(recipe, to_train=False)
    if comm.is_main_process():
        write_recipe(recipe)
    model = build_model(recipe)
    check_tasks(model, data.evaluator)
    suppressed = recipe.train.get("also_with_nms", 0)
    if suppressed and not hasattr(model, "nms_threshold"):
        raise RecipeError(f"A {type(model).__name__} has no nms_threshold to set: leave out train.also_with_nms.")
    load_initial_weights(model, recipe, to_train=False)
    results = evaluate(model, recipe, data)
    return results | evaluate_suppressed(model, recipe) if suppressed else results

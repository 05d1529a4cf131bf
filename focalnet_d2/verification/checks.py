"""Verifies recipes: one training each, and everything that has to come out as it did."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from focalnet_d2.config.data_group import is_of_data
from focalnet_d2.config.lazy import recipe_to_yaml
from focalnet_d2.engine.checkpointing import FINAL
from focalnet_d2.engine.distributed import launch
from focalnet_d2.engine.jobs import Job
from focalnet_d2.engine.own_data import apply_settings
from focalnet_d2.engine.recipe_filling import mapper_class, uses_of
from focalnet_d2.export.describing import NotExportableError
from focalnet_d2.export.from_checkpoint import export_checkpoint
from focalnet_d2.export.runtime import ExportedModel
from focalnet_d2.inference.predictor import Predictor
from focalnet_d2.utils.atomic_write import write_atomically

from . import comparing, runs
from .comparing import Finding, Tolerance
from .example_data import CLASSES, LABELLED, PAIRED, write_examples
from .offline import score_files
from .processes import GRADIENTS, SAMPLES, Shared, share
from .small_form import SAVED_AFTER, STEPS, paired_settings, small_settings

EXPORTED = "model.onnx"
WRITTEN = Tolerance(metric=1e-6, score=1e-6, box=1e-3, overlap=1.0, share=1e-6)  # files hold decimal numbers
EXPORT = Tolerance(metric=0.1, score=1e-3, box=0.1, overlap=0.9, share=0.02)
_OTHER_WEIGHTS = 2  # trainings of two processes that a first one's difference has to outlast
ROUNDING = 1e-3  # of sums in another order, as shares of the size of losses and gradients


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        recipe: as it was typed.
        check: what has to equal what.
        held: None: it was not checked.
        finding: how near, or what differs.
    """

    recipe: str
    check: str
    held: bool | None
    finding: str


@dataclass(frozen=True)
class Case:
    """A recipe on its way.

    Attributes:
        name: as it was typed.
        job: its small form; paired: the same on one image and its mirror image, or None.
        folder: of all its runs.
        device: of the predictor.
    """

    name: str
    job: Job
    paired: Job | None
    folder: Path
    device: str

    @property
    def checkpoint(self) -> Path:
        """What the first run has learned."""
        return self.folder / "first" / FINAL


def verify(jobs: Sequence[Job], root: Path, *, device: str = "cpu") -> Iterator[Row]:
    """Rows for every recipe.

    Args:
        jobs: recipes with their overrides; without `data=DIR` among these, they learn from generated images.
        root: an empty folder for everything that is written.
        device: of the runs; those of two processes are on the CPU.

    Raises:
        RecipeError, ValueError, FileNotFoundError: a recipe that cannot be run.
    """
    write_examples(root / "data")
    cases = [make_case(job, root / "data", root / str(number), device) for number, job in enumerate(jobs)]
    with ProcessPoolExecutor(1, get_context("spawn")) as another:
        for case in cases:
            runs.train(case.job, case.folder / "first")
            again = another.submit(runs.train_and_evaluate, case.job, case.folder)
            for check in CHECKS:
                yield check(case, again)
    run_in_two_processes(cases)
    for case in cases:
        yield from of_two_processes(case)


def make_case(job: Job, data: Path, folder: Path, device: str) -> Case:
    """Write the small forms of a recipe, as recipes of their own.

    Args:
        data: folder of the generated images.
        folder: for what is written, which is made.

    Raises:
        RecipeError: the recipe cannot be used, or not with these data.
    """
    recipe = job.source
    uses = uses_of(mapper_class(recipe))
    labelled, paired = (CLASSES, CLASSES) if uses and uses[0].kind == "classification" else (LABELLED, PAIRED)
    small, own = small_settings(recipe), job.overrides
    if uses and not any(map(is_of_data, own)):
        own = (f"data={data / labelled}", *own)
    of_model = [one for one in job.overrides if not is_of_data(one)]
    pair = (f"data={data / paired}", *small, *of_model, *paired_settings(recipe), "train.device=cpu")
    folder.mkdir(exist_ok=True)
    return Case(
        name=str(job.recipe),
        job=_written(job, (*small, f"train.device={device}", *own), folder / "small.yaml"),
        paired=_written(job, pair, folder / "paired.yaml") if uses else None,
        folder=folder,
        device=device,
    )


def _written(job: Job, overrides: Sequence[str], path: Path) -> Job:
    """A job with a recipe that is written: the job's with overrides and data. It may build what that may."""
    recipe = apply_settings(job.source, overrides, trust=job.trust)
    write_atomically(path, recipe_to_yaml(recipe))
    return Job(path, trust=True)


def second_run(case: Case, again: Future) -> Row:
    again.result()
    found = _compare_runs(case, "second")
    return Row(case.name, "a second run, in another process", *found)


def resumed(case: Case, _: Future) -> Row:
    runs.go_on(case.job, case.folder / "first", case.folder / "resumed")
    found = _compare_runs(case, "resumed")
    return Row(case.name, f"a run that went on after {SAVED_AFTER} of {STEPS} steps", *found)


def _compare_runs(case: Case, other: str) -> Finding:
    """Everything that the first run and another one have left, bit for bit."""
    first, second = case.folder / "first", case.folder / other
    weights = comparing.compare_checkpoints(first / FINAL, second / FINAL)
    return comparing.joined([weights, comparing.compare_evaluations(first, second, Tolerance())])


def evaluated_alone(case: Case, again: Future) -> Row:
    again.result()
    found = comparing.compare_evaluations(case.folder / "first", case.folder / "alone", Tolerance())
    return Row(case.name, "evaluation alone, in another process", *found)


def predicted(case: Case, _: Future) -> Row:
    predictor = Predictor(case.checkpoint, device=case.device, threshold=0.0, trust=True)
    return Row(case.name, "Predictor, files scored", *_scored(case, predictor.stream, "predictor", WRITTEN))


def exported(case: Case, _: Future) -> Row:
    check = "ONNX in onnxruntime, files scored"
    try:
        with runs.quiet():
            file = export_checkpoint(case.checkpoint, case.folder / EXPORTED, threshold=0.0, trust=True).path
        stream = ExportedModel(file, threshold=0.0, threads=1).stream
    except (ImportError, NotExportableError) as error:
        return Row(case.name, check, None, str(error))
    except ValueError as error:
        return Row(case.name, check, False, str(error))
    return Row(case.name, check, *_scored(case, stream, "exported", EXPORT))


def _scored(case: Case, stream: Callable, name: str, tolerance: Tolerance) -> Finding:
    """Results of the first run's weights against the evaluation in it."""
    recipe = runs.in_folder(case.job, case.folder / name).read_recipe()
    with runs.quiet():
        score_files(stream, recipe)
    return comparing.compare_evaluations(case.folder / "first", case.folder / name, tolerance)


CHECKS = (second_run, resumed, evaluated_alone, predicted, exported)


def run_in_two_processes(cases: Sequence[Case]) -> None:
    """What is shared by two processes, and the same in one, of all cases: processes take long to start."""
    shared = [Shared(case.job, case.paired, case.folder) for case in cases]
    share(shared, "one")
    launch(share, num_processes=2, args=(shared, "two"))


def of_two_processes(case: Case) -> Iterator[Row]:
    """The lines of what `run_in_two_processes` has left.

    A network has kinks, as that of a ReLU: a value that is zero but for rounding has one gradient in one process and
    another in two. So a training that differs is repeated from other weights; a fault shows from any.
    """
    samples = comparing.compare_samples(case.folder / "one" / SAMPLES, case.folder / "two" / SAMPLES)
    yield Row(case.name, "samples of two processes", *samples)
    check = "training of two processes"
    if case.paired is None:
        yield Row(case.name, check, None, "the mapper of the training data is not one of this library")
        return
    found = _compare_training(case)
    for again in _from_other_weights(case, case.paired) if not found.held else ():
        run_in_two_processes([again])
        found = _compare_training(again)
        if found.held:
            break
    yield Row(case.name, check, *found)


def _compare_training(case: Case) -> Finding:
    one, two = case.folder / "one", case.folder / "two"
    gradients = comparing.compare_gradients(one / GRADIENTS, two / GRADIENTS, ROUNDING)
    return comparing.joined([comparing.compare_steps(one, two, ROUNDING), gradients])


def _from_other_weights(case: Case, paired: Job) -> Iterator[Case]:
    """The same case with other seeds; none where the recipe has no seed."""
    seed = case.job.source.train.get("seed")
    if seed is None:
        return
    for step in range(1, 1 + _OTHER_WEIGHTS):
        other = replace(paired, overrides=(*paired.overrides, f"train.seed={seed + step}"))
        yield replace(case, paired=other, folder=case.folder / f"from_other_weights_{step}")

"""The images, the truth and the evaluators of a run, found again by its recipe."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from detectron2.evaluation import DatasetEvaluator

from focalnet_d2.config.building import build
from focalnet_d2.engine.own_data import apply_settings, source_of
from focalnet_d2.engine.preflight import members

from .run_files import RunFiles

Evaluator = TypeVar("Evaluator", bound=DatasetEvaluator)


@dataclass(frozen=True)
class ScoredData:
    """What the evaluations of a run score.

    Attributes:
        records: dataset dicts of the images.
        evaluators: of the recipe, which have read the truth.
    """

    records: Sequence[dict[str, Any]]
    evaluators: list[DatasetEvaluator]

    def evaluator(self, kind: type[Evaluator]) -> Evaluator | None:
        """The first evaluator of a kind."""
        return next((one for one in self.evaluators if isinstance(one, kind)), None)


@contextmanager
def scored_data(run: RunFiles) -> Iterator[ScoredData]:
    """Read the data set and the truth; evaluators write nothing into the run's folder.

    Raises:
        FileNotFoundError, ValueError: the data are not where they were, or the recipe needs trust.
    """
    with tempfile.TemporaryDirectory() as folder:
        recipe = apply_settings(source_of(run.folder), ())
        recipe.train.output_dir = folder
        records = build(recipe.dataloader.test.dataset, "dataloader.test.dataset")
        yield ScoredData(records, members(build(recipe.dataloader.evaluator, "dataloader.evaluator")))

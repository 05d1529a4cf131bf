"""Evaluation that leaves no trace: run a model over a loader, score, write and print the results."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.utils import comm
from torch import nn

from focalnet_d2.evaluation.report import RESULTS, results_table, write_results

from .precision import inference_precision
from .progress_bar import progress_bar
from .rng import preserved_rng
from .stopping import Batches, Stoppable

logger = logging.getLogger(__name__)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """All modules in evaluation mode inside; afterwards each in the mode it had, whatever its parent's is."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def run_evaluation(
    model: nn.Module, loader: Batches, evaluator: DatasetEvaluator, folder: Path | None = None, amp: str = "off"
) -> dict[str, Any]:
    """Predict and score; modes of the modules and random generators are afterwards as before.

    Args:
        model: without a distributed wrapper, on its device.
        loader: of test batches, with a length.
        evaluator: scores `model(batch)`.
        folder: the main process writes `results.json` there.
        amp: precision of the model's calls, as `train.amp`; the evaluator works outside of it.

    Returns:
        `{task: {metric: value}}` on the main process, `{}` elsewhere.

    Raises:
        RunStopped: a signal asked for it.
    """
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device

    def predict(batch: Sequence[Mapping]) -> Any:
        with inference_precision(device, amp):
            outputs = model(batch)
        bar.update()
        return outputs

    shown = progress_bar(len(loader), desc="evaluation", unit=" batches", leave=False)
    with preserved_rng(), evaluation_mode(model), shown as bar:
        results = inference_on_dataset(predict, Stoppable(loader, "the evaluation"), evaluator)
    if comm.is_main_process() and results:
        logger.info("Results:\n%s", results_table(results))
        if folder is not None:
            write_results(folder / RESULTS, results)
    return dict(results)

"""Evaluation that leaves no trace: run a model over a loader, score, write and print the results."""

import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.utils import comm
from tabulate import tabulate
from torch import nn

from focalnet_d2.atomic_files import write_atomically
from focalnet_d2.engine.precision import inference_precision
from focalnet_d2.engine.rng import preserved_rng

RESULTS = "results.json"

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
    model: nn.Module, loader: Iterable, evaluator: DatasetEvaluator, folder: Path | None = None, amp: str = "off"
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
    """
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device

    def predict(batch: Sequence[Mapping]) -> Any:
        with inference_precision(device, amp):
            return model(batch)

    with preserved_rng(), evaluation_mode(model):
        results = inference_on_dataset(predict, loader, evaluator)
    if comm.is_main_process() and results:
        logger.info("Results:\n%s", results_table(results))
        if folder is not None:
            write_results(folder / RESULTS, results)
    return dict(results)


def results_table(results: dict[str, Any]) -> str:
    """The main numbers of each task as a table; numbers of single classes are left out."""
    lines = []
    for task, numbers in results.items():
        main = {name: value for name, value in numbers.items() if "-" not in name}
        row = [task, *(f"{value:.3f}" for value in main.values())]
        lines.append(tabulate([row], headers=["task", *main], tablefmt="pipe", disable_numparse=True))
    return "\n\n".join(lines)


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results as JSON; numbers that are not defined (nan) become null."""
    write_atomically(path, (json.dumps(_without_nan(results), indent=1) + "\n").encode("utf-8"))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(child) for key, child in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

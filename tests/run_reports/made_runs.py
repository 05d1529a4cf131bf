"""Folders of runs as a training leaves them, without a training: real recipes and evaluators, planted predictions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectron2.structures import Boxes, Instances

from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import load_recipe, recipe_to_yaml
from focalnet_d2.engine.own_data import apply_settings
from focalnet_d2.engine.preflight import members
from focalnet_d2.engine.run_folder import RunIdentity
from focalnet_d2.evaluation.report import write_results
from focalnet_d2.evaluation.streaming import CountingEvaluator
from tests.own_data_folders import BOXES, SIZE

ITERATIONS, PERIOD = 40, 20


def made_run(folder: Path, recipe_name: str, root: Path, predict: Callable[[dict], dict[str, Any]]) -> Path:
    """A complete run of a recipe on a folder of data.

    Args:
        predict: what the model says about the image of a dataset dict.
    """
    overrides = (f"data={root}", f"train.output_dir={folder}", f"train.max_iter={ITERATIONS}", "optimizer.lr=3e-4")
    recipe = apply_settings(load_recipe(recipe_name), overrides)
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe_to_yaml(recipe), encoding="utf-8")
    RunIdentity("0" * 16, recipe_name, overrides).write(folder)
    results = evaluated(recipe, predict)
    write_results(folder / "results.json", results)
    metric = recipe.train.best_metric
    write_metrics(folder, results, metric)
    task, _, name = metric.partition("/")
    best = {"metric": metric, "value": results[task][name], "iteration": PERIOD}
    (folder / "best.json").write_text(json.dumps(best))
    return folder


def found_boxes(record: dict) -> dict[str, Any]:
    """The first class is found in every image, the second in none: a box of the first class is there instead."""
    (x, y, w, h), (x2, y2, w2, h2) = BOXES[4], BOXES[9]
    result = Instances((SIZE, SIZE))
    result.pred_boxes = Boxes(torch.tensor([[x, y, x + w, y + h], [x2, y2, x2 + w2, y2 + h2]], dtype=torch.float32))
    result.scores, result.pred_classes = torch.tensor([0.9, 0.9]), torch.tensor([0, 0])
    return {"instances": result}


def evaluated(recipe: Any, predict: Callable[[dict], dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What the evaluators of a recipe say about planted predictions; they write their files."""
    records = build(recipe.dataloader.test.dataset, "dataset")
    evaluators = members(build(recipe.dataloader.evaluator, "evaluator"))
    results: dict[str, dict[str, float]] = {}
    for evaluator in evaluators:
        for record in records:
            evaluator.process([record], [predict(record)])
        results |= evaluator.evaluate()
    assert any(isinstance(one, CountingEvaluator) or one.counts for one in evaluators)
    return results


def write_metrics(folder: Path, results: dict[str, dict[str, float]], metric: str) -> None:
    """Losses that fall, two evaluations, and what a killed process has left of its last line."""
    lines = []
    for iteration in range(0, ITERATIONS, 2):
        line = {"iteration": iteration + 1, "total_loss": 9.0 / (iteration + 3), "lr": 3e-4, "time": 0.5}
        line |= {"loss_class": 2.0 / (iteration + 3), "loss_class_0": 1.0, "data_time": 0.01}
        if iteration + 2 == PERIOD:
            line |= {"validation/total_loss": 2.5, "evaluated_after": PERIOD}
            line |= {f"{task}/{name}": value for task, numbers in results.items() for name, value in numbers.items()}
        lines.append(line)
    flat = {f"{task}/{name}": value for task, numbers in results.items() for name, value in numbers.items()}
    lines.append({**flat, "iteration": ITERATIONS, "evaluated_after": ITERATIONS})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.json").write_text(f'{text}{{"iteration": 41, "total_', encoding="utf-8")

"""Scores of results that were written to files, as `focalnet-d2 predict` and `focalnet-d2-runtime` write them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import torch
from detectron2.structures import Boxes, Instances
from omegaconf import DictConfig
from torch import Tensor

from focalnet_d2.data.annotations.json_file import read_json
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.panoptic_labels import read_panoptic_ids
from focalnet_d2.data.semantic_labels import read_semantic_labels
from focalnet_d2.engine.preflight import read_data
from focalnet_d2.evaluation.report import RESULTS, write_results

Stream = Callable[[Iterable[Path]], Iterable[Any]]
FILES = "files"  # folder of the results of single images


def score_files(stream: Stream, recipe: DictConfig) -> None:
    """Predict the image files of the recipe's test data, write the results as files, read them, and score what was
    read by the recipe's evaluators. Numbers and predictions are written into `train.output_dir`.

    Args:
        stream: gives a `Prediction` or `Result` for each of some image files.
    """
    folder = Path(recipe.train.output_dir)
    data = read_data(recipe, to_train=False)
    records = [data.test[index] for index in range(len(data.test))]
    data.evaluator.reset()
    results = stream([Path(record["file_name"]) for record in records])
    for number, (record, result) in enumerate(zip(records, results, strict=True)):
        result.save(folder / FILES, str(number))
        data.evaluator.process([record], [read_outputs(folder / FILES / str(number), result.classes)])
    write_results(folder / RESULTS, data.evaluator.evaluate() or {})


def read_outputs(start: Path, classes: ClassMap) -> dict[str, Any]:
    """What a model would have returned for the image whose files begin with `start` (`modeling/base.py`)."""
    document = read_json(f"{start}.json")
    (image,) = document["images"]
    found: dict[str, Any] = {
        "instances": _instances(document["annotations"], (image["height"], image["width"]), classes)
    }
    if Path(f"{start}.panoptic.json").is_file():
        (annotation,) = read_json(f"{start}.panoptic.json")["annotations"]
        segments = [
            {**segment, "category_id": classes.contiguous[segment["category_id"]]}
            for segment in annotation["segments_info"]
        ]
        found["panoptic_seg"] = torch.from_numpy(read_panoptic_ids(f"{start}.panoptic.png").astype(np.int32)), segments
    if Path(f"{start}.semantic.png").is_file():
        found["sem_seg"] = _contiguous(read_semantic_labels(f"{start}.semantic.png"), classes)
    if "class_scores" in document:
        scores = torch.zeros(len(classes))
        for entry in document["class_scores"]:
            scores[classes.contiguous[entry["category_id"]]] = entry["score"]
        found["scores"] = scores.log()  # of which the evaluator takes the softmax
    return found


def _instances(annotations: list[dict[str, Any]], size: tuple[int, int], classes: ClassMap) -> Instances:
    """Objects of an image of (height, width)."""
    boxes_xywh = torch.tensor([entry["bbox"] for entry in annotations], dtype=torch.float64).reshape(-1, 4)
    boxes_xyxy = torch.cat([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], dim=1)
    found = Instances(
        size,
        pred_boxes=Boxes(boxes_xyxy),
        scores=torch.tensor([entry["score"] for entry in annotations], dtype=torch.float64),
        pred_classes=torch.tensor(
            [classes.contiguous[entry["category_id"]] for entry in annotations], dtype=torch.int64
        ),
    )
    if all("segmentation" in entry for entry in annotations):
        masks = [pycocotools.mask.decode(entry["segmentation"]).astype(bool) for entry in annotations]
        found.pred_masks = torch.from_numpy(np.array(masks, bool).reshape(-1, *size))
    return found


def _contiguous(labels: np.ndarray, classes: ClassMap) -> Tensor:
    """(H, W) ids of the data set -> (H, W) contiguous ids."""
    index_of = np.zeros(2**16, np.int64)
    for dataset_id, index in classes.contiguous.items():
        index_of[dataset_id] = index
    return torch.from_numpy(index_of[labels])

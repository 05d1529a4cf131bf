"""Box average precision by the official COCO tools, for any data set with a COCO file of its annotations.

Differs from Detectron2's `COCOEvaluator`, which it extends: no predictions score 0 instead of nan or nothing, average
recall and per-class numbers are part of the results, wrong predictions are named instead of asserted, and a limit of
detections per image other than 100 works for all numbers. The numbers themselves are pycocotools' own.
"""

import contextlib
import io
import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.evaluation import COCOEvaluator
from detectron2.evaluation.coco_evaluation import COCOevalMaxDets
from detectron2.utils import comm
from pycocotools.coco import COCO
from tabulate import tabulate

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
RECALLS = ("AR1", "AR10", "AR{}", "ARs", "ARm", "ARl")
SUBMISSION = "coco_instances_results.json"

logger = logging.getLogger(__name__)


class DetectionEvaluator(COCOEvaluator):
    """Box AP and AR, in percent; nan where the annotations do not define a number (no large objects, say).

    Args:
        dataset_name: registered name, or a list with one.
        output_dir: where the predictions are written in the format of the COCO server; None writes nothing.
        max_dets: detections per image and class that count.
        only_seen_images: score only images that were processed, for a test loader with a part of the data set;
            otherwise an image that was not processed counts as one without predictions.

    `evaluate` returns `{"bbox": {AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR<max_dets>, ARs, ARm, ARl, AP-<class>}}`
    on the main process and `{}` elsewhere, and everywhere for a data set without annotations (test-dev).
    """

    def __init__(
        self,
        dataset_name: str | Sequence[str],
        *,
        output_dir: str | Path | None = None,
        max_dets: int = 100,
        only_seen_images: bool = False,
    ) -> None:
        names = [dataset_name] if isinstance(dataset_name, str) else list(dataset_name)
        if len(names) != 1:
            raise ValueError(f"DetectionEvaluator scores one data set, it was given {names}: evaluate them one by one.")
        output_dir = None if output_dir is None else str(output_dir)
        super().__init__(names[0], ("bbox",), output_dir=output_dir, max_dets_per_image=max_dets, use_fast_impl=False)
        self.dataset_name = names[0]
        self.max_dets = max_dets
        self.only_seen_images = only_seen_images
        categories = self._coco_api.loadCats(sorted(self._coco_api.getCatIds()))
        mapping = self._metadata.get("thing_dataset_id_to_contiguous_id")
        self._category_ids = (
            [category["id"] for category in categories]
            if mapping is None  # a name that has not been loaded yet: Detectron2's own rule
            else sorted(mapping, key=mapping.get)
        )
        self._names = {category["id"]: category["name"] for category in categories}

    def evaluate(self, img_ids: Sequence[int] | None = None) -> dict[str, dict[str, float]]:
        """Gather the predictions of all ranks, write them, and score them where there are annotations."""
        gathered = comm.gather(self._predictions, dst=0)
        if not comm.is_main_process():
            return {}
        predictions = list(itertools.chain.from_iterable(gathered))
        results = [self._to_dataset_ids(result) for image in predictions for result in image["instances"]]
        if self._output_dir:
            folder = Path(self._output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / SUBMISSION).write_text(json.dumps(results), encoding="utf-8")
        if self.only_seen_images and img_ids is None:
            img_ids = [image["image_id"] for image in predictions]
        if not self._do_evaluation:
            logger.info("%s has no annotations: the predictions are written, not scored.", self.dataset_name)
            return {}
        return {"bbox": self._score(results, img_ids)}

    def _to_dataset_ids(self, result: dict[str, Any]) -> dict[str, Any]:
        if not 0 <= result["category_id"] < len(self._category_ids):
            raise ValueError(
                f"A prediction has class {result['category_id']}, but {self.dataset_name} has "
                f"{len(self._category_ids)} classes: the recipe's num_classes does not fit the data set."
            )
        if result["image_id"] not in self._coco_api.imgs:
            raise ValueError(f"A prediction is for image {result['image_id']}, which {self.dataset_name} lacks.")
        return result | {"category_id": self._category_ids[result["category_id"]]}

    def _score(self, results: list[dict[str, Any]], img_ids: Sequence[int] | None) -> dict[str, float]:
        if not results:
            logger.warning("There is not a single prediction for %s.", self.dataset_name)
        evaluation = COCOevalMaxDets(self._coco_api, _load_results(self._coco_api, results), "bbox")
        evaluation.params.maxDets = [1, 10, self.max_dets]
        if img_ids is not None:
            evaluation.params.imgIds = list(img_ids)
        with contextlib.redirect_stdout(io.StringIO()) as summary:
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        lines = [line for line in summary.getvalue().splitlines() if line.startswith(" Average")]
        logger.info("Official summary:\n%s", "\n".join(lines))
        names = (*METRICS, *(name.format(self.max_dets) for name in RECALLS))
        scores = {name: _percent(value) for name, value in zip(names, evaluation.stats)}
        precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU thresholds, recall points, classes)
        per_class = {
            f"AP-{self._names[category]}": _percent(_mean(precision[:, :, index]))
            for index, category in enumerate(evaluation.params.catIds)
        }
        logger.info("Box AP of each class:\n%s", _class_table(per_class))
        return scores | per_class


def _load_results(truth: COCO, results: list[dict[str, Any]]) -> COCO:
    """Results as a COCO object; unlike pycocotools, also for none at all."""
    with contextlib.redirect_stdout(io.StringIO()):
        if results:
            return truth.loadRes(results)
        empty = COCO()
        empty.dataset = {key: truth.dataset[key] for key in ("images", "categories")} | {"annotations": []}
        empty.createIndex()
        return empty


def _mean(values: np.ndarray) -> float:
    """Mean of the defined entries; -1, as in pycocotools, if there is none."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0


def _percent(value: float) -> float:
    return float(value) * 100 if value > -1 else float("nan")


def _class_table(per_class: dict[str, float], columns: int = 3) -> str:
    cells = [(name.removeprefix("AP-"), f"{value:.3f}") for name, value in per_class.items()]
    rows = [list(itertools.chain(*cells[start : start + columns])) for start in range(0, len(cells), columns)]
    return tabulate(
        rows, headers=["class", "AP"] * min(columns, max(len(cells), 1)), tablefmt="pipe", disable_numparse=True
    )

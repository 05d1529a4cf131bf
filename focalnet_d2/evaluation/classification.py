"""Top-1 and top-5 accuracy of classifiers while the model runs."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from torch import Tensor

from focalnet_d2.data.catalog import load_dataset

from .coco_files import write_json
from .shares import ScoredImages

TASK, COUNTS = "classification", "classification_counts.json"
TOP = (1, 5)

logger = logging.getLogger(__name__)


class ClassificationEvaluator(DatasetEvaluator):
    """The share of images whose class is the best of all, and among the best five, in percent; nan without images.

    Of equal scores the one of the lower class is the better one; a score that is not a number is better than all, so
    that a broken model gets nothing right. With up to five classes top-5 is 100.

    Args:
        dataset_name: registered name; its classes are read from its folders.
        output_dir: where `classification_counts.json` is written; None writes nothing.
        first_classes: only so many classes at the beginning of the scores compete. The released ImageNet-22K heads
            have the classes of ImageNet-1K first and in its order, of which 22K lacks one (850).

    `evaluate` returns `{"classification": {top1, top5}}` on the main process and `{}` elsewhere; `counts` (K, 3) then
    holds for every class the images, those right at the first place and those right among five.
    """

    def __init__(
        self, dataset_name: str, *, output_dir: str | Path | None = None, first_classes: int | None = None
    ) -> None:
        if MetadataCatalog.get(dataset_name).get("thing_classes") is None:
            load_dataset(dataset_name)
        self.dataset_name = dataset_name
        self.class_names = list(MetadataCatalog.get(dataset_name).thing_classes)
        self.first_classes = first_classes
        self._output_dir = None if output_dir is None else Path(output_dir)
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.counts: np.ndarray | None = None
        self._counted = np.zeros((len(self.class_names), 1 + len(TOP)), np.int64)
        self._images: ScoredImages[tuple[int, int]] = ScoredImages()

    def process(self, inputs: Sequence[Mapping], outputs: Sequence[Mapping]) -> None:
        """Score the `scores` (K,) of each output against `class_id` of its input.

        Raises:
            ValueError: another number of scores than there are classes.
        """
        for sample, output in zip(inputs, outputs):
            image_id, class_id = sample["image_id"], sample["class_id"]
            if self._images.is_new(image_id):
                place = place_of_class(self._competing(output["scores"]), class_id)
                _count(self._counted, self._images.add(image_id, (class_id, place)))

    def _competing(self, scores: Tensor) -> Tensor:
        scores, classes = scores[: self.first_classes], len(self.class_names)
        if len(scores) != classes:
            setting = f"model.num_classes={classes}"
            if len(scores) > classes:
                setting += f", or dataloader.evaluator.first_classes={classes} if they are the first of the model's"
            raise ValueError(f"{len(scores)} scores for the {classes} classes of {self.dataset_name}: set {setting}")
        return scores

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Add up the images of all processes."""
        num_images, last_places = self._images.settle()
        counted = self._counted.copy()
        _count(counted, last_places)
        shares = comm.gather(counted)
        if not comm.is_main_process():
            return {}
        self.counts = sum(shares)
        if num_images == 0:
            logger.warning("Not a single image of %s was processed.", self.dataset_name)
        if self._output_dir is not None:
            columns = ["images", *(f"top{top}" for top in TOP)]
            content = {"classes": self.class_names, "columns": columns, "counts": self.counts.tolist()}
            write_json(self._output_dir / COUNTS, content)
        right = self.counts[:, 1:].sum(0).tolist()
        percent = [100 * count / num_images if num_images else float("nan") for count in right]
        return {TASK: {f"top{top}": value for top, value in zip(TOP, percent)}}


def place_of_class(scores: Tensor, class_id: int) -> int:
    """How many classes come before this one when scores (K,) are sorted."""
    before = ~(scores <= scores[class_id])  # also nan, and everything if the class itself has it
    equal = scores[:class_id] == scores[class_id]
    return int(before.sum() + equal.sum())


def _count(counts: np.ndarray, places: Sequence[tuple[int, int]]) -> None:
    """Add images (class, place of the class) to counts (K, 3), in place."""
    for class_id, place in places:
        counts[class_id] += (1, *(place < top for top in TOP))

"""Top-1 and top-5 accuracy of classifiers while the model runs, what is taken for what, and how sure they are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from torch import Tensor

from focalnet_d2.data.catalog import load_dataset

from .coco_files import write_json
from .streaming import CountingEvaluator

TASK, COUNTS, CONFUSION = "classification", "classification_counts.json", "classification_confusion_counts.json"
TOP = (1, 5)
BINS = 10  # of the probability of the best class
_SHOWN = 3  # classes of an example


class PlaceTally:
    """For every class the images, those right at the first place and those right among five.

    Args:
        num_classes: classes K.

    `pairs` counts true and predicted class, `bins` (10, 3) images, summed probability and right ones by tenths of the
    probability of the best class.
    """

    def __init__(self, num_classes: int):
        self.counts = np.zeros((num_classes, 1 + len(TOP)), np.int64)
        self.pairs: Counter[tuple[int, int]] = Counter()
        self.bins = np.zeros((BINS, 3))

    def add(self, class_id: int, place: int, best: int, probability: float) -> None:
        """Count an image by its class, by how many classes came before it, and by the best class."""
        self.counts[class_id] += (1, *(place < top for top in TOP))
        self.pairs[class_id, best] += 1
        if probability == probability:
            self.bins[min(int(probability * BINS), BINS - 1)] += (1, probability, class_id == best)

    def merge(self, other: "PlaceTally") -> None:
        """Add the images of another process."""
        self.counts += other.counts
        self.pairs.update(other.pairs)
        self.bins += other.bins


class ClassificationEvaluator(CountingEvaluator):
    """The share of images whose class is the best of all, and among the best five, in percent; nan without images.

    Of equal scores the one of the lower class is the better one; a score that is not a number is better than all, so
    that a broken model gets nothing right. With up to five classes top-5 is 100.

    Args:
        dataset_name: registered name; its classes are read from its folders.
        output_dir: where `classification_counts.json`, what is taken for what, and the best and worst images are
            written; None writes nothing.
        first_classes: only so many classes at the beginning of the scores compete. The released ImageNet-22K heads
            have the classes of ImageNet-1K first and in its order, of which 22K lacks one (850).

    `evaluate` returns `{"classification": {top1, top5}}` on the main process and `{}` elsewhere; `counts` (K, 3) then
    holds for every class the images, those right at the first place and those right among five.
    """

    tasks = ("classification",)
    examples_task = TASK

    def __init__(
        self, dataset_name: str, *, output_dir: str | Path | None = None, first_classes: int | None = None
    ) -> None:
        super().__init__(dataset_name, output_dir=output_dir)
        if MetadataCatalog.get(dataset_name).get("thing_classes") is None:
            load_dataset(dataset_name)
        self.class_names = list(MetadataCatalog.get(dataset_name).thing_classes)
        self.first_classes = first_classes
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self.counts: np.ndarray | None = None

    def metric_names(self) -> list[str]:
        """All that `evaluate` may give."""
        return [f"{TASK}/top{top}" for top in TOP]

    def new_tally(self) -> PlaceTally:
        """Without images."""
        return PlaceTally(len(self.class_names))

    def score(self, sample: Mapping, output: Mapping) -> tuple[int, int, int, float]:
        """Class of an image (`class_id`), its place among the `scores` (K,), the best class and its probability.

        Raises:
            ValueError: another number of scores than there are classes.
        """
        class_id, scores = sample["class_id"], self._competing(output["scores"])
        probabilities = scores.float().softmax(0)
        best = int(scores.argmax())
        sure = float(probabilities[best])
        self.examples.add(
            sample["image_id"] if "image_id" in sample else sample["file_name"],
            sure if best == class_id else -sure,
            lambda: _example(sample.get("file_name", ""), class_id, probabilities),
        )
        return class_id, place_of_class(scores, class_id), best, sure

    def _competing(self, scores: Tensor) -> Tensor:
        scores, classes = scores[: self.first_classes], len(self.class_names)
        if len(scores) != classes:
            setting = f"model.num_classes={classes}"
            if len(scores) > classes:
                setting += f", or dataloader.evaluator.first_classes={classes} if they are the first of the model's"
            raise ValueError(f"{len(scores)} scores for the {classes} classes of {self.dataset_name}: set {setting}")
        return scores

    def report(self, tally: PlaceTally, submissions: Sequence) -> dict[str, dict[str, float]]:
        """top1 and top5 in percent; writes the counts."""
        self.counts = tally.counts
        if self.output_dir is not None:
            columns = ["images", *(f"top{top}" for top in TOP)]
            content = {"classes": self.class_names, "columns": columns, "counts": self.counts.tolist()}
            write_json(self.output_dir / COUNTS, content)
            pairs = sorted([*pair, count] for pair, count in tally.pairs.items())
            write_json(
                self.output_dir / CONFUSION,
                {"classes": self.class_names, "pairs": pairs, "bins": tally.bins.tolist()},
            )
        images, *right = self.counts.sum(0).tolist()
        percent = [100 * count / images if images else float("nan") for count in right]
        return {TASK: {f"top{top}": value for top, value in zip(TOP, percent)}}


def _example(file_name: str, class_id: int, probabilities: Tensor) -> dict[str, Any]:
    """What is kept of an image: its class and the most probable ones, of (K,)."""
    values, classes = probabilities.topk(min(_SHOWN, len(probabilities)))
    return {"file_name": str(file_name), "class": class_id, "best": list(zip(classes.tolist(), values.tolist()))}


def place_of_class(scores: Tensor, class_id: int) -> int:
    """How many classes come before this one when scores (K,) are sorted."""
    before = ~(scores <= scores[class_id])  # also nan, and everything if the class itself has it
    equal = scores[:class_id] == scores[class_id]
    return int(before.sum() + equal.sum())

"""Semantic segmentation scores of predictions while the model runs.

Differs from Detectron2's `SemSegEvaluator`: several times as fast on the CPU, label maps are accepted besides scores,
the ground truth may be a panoptic one, predictions are kept only on request, and there is no boundary IoU, which would
need OpenCV and is not part of the published results. The numbers are Detectron2's own.
"""

import functools
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog
from pycocotools import mask as coco_mask
from tabulate import tabulate

from focalnet_d2.data.panoptic_labels import read_listed_ids, semantic_from_panoptic
from focalnet_d2.data.preparation.jobs import run_jobs
from focalnet_d2.data.semantic_labels import read_record_labels, read_semantic_labels
from focalnet_d2.kernels.argmax import index_of_largest

from .coco_files import write_json
from .confusion import (
    ConfusionTally,
    check_classes,
    count_confusion,
    has_unfounded_classes,
    image_quality,
    semantic_results,
)
from .deduplication import merge_by_image
from .examples import shrunk
from .metadata import loaded_metadata
from .streaming import CountingEvaluator

TASK, CORRECTED_TASK = "sem_seg", "sem_seg_corrected"
COUNTS, SUBMISSION = "sem_seg_counts.json", "sem_seg_predictions.json"

logger = logging.getLogger(__name__)


class SemanticEvaluator(CountingEvaluator):
    """mIoU, fwIoU, mACC, pACC and the IoU and accuracy of each class in percent; nan where the ground truth has none.

    The ground truth of an image is `sem_seg_file_name` of the model's input, else it is made from `pan_seg_file_name`
    and `segments_info`; an input without these is looked up in the data set by its `file_name`.

    Args:
        dataset_name: registered name; its metadata have `stuff_classes` (K names) and may have `ignore_label` (255).
        output_dir: where `sem_seg_counts.json` with the confusion matrix is written, the best and worst images, and the
            predictions; None writes nothing.
        official: mIoU as in Detectron2, over the classes that occur in the ground truth; what it is with an IoU of 0
            for other classes that are predicted is added as `sem_seg_corrected` where it differs. False gives only
            the latter.
        write_submission: write the predictions as Detectron2 does, run-length encoded in `sem_seg_predictions.json`.

    `evaluate` returns `{"sem_seg": {mIoU, fwIoU, mACC, pACC, IoU-<class>, ACC-<class>}}` on the main process and `{}`
    elsewhere; `confusion` (K + 1, K + 1) then holds the pixels by predicted (row) and true class (column, last the
    ignored ones).

    Raises:
        ValueError: metadata without classes, or with one whose label is ignored; a submission without a folder.
    """

    tasks = ("sem_seg",)
    examples_task = TASK

    def __init__(
        self,
        dataset_name: str,
        *,
        output_dir: str | Path | None = None,
        official: bool = True,
        write_submission: bool = False,
    ) -> None:
        super().__init__(dataset_name, output_dir=output_dir, write_submission=write_submission)
        metadata = loaded_metadata(dataset_name)
        self.official = official
        self.class_names = list(metadata.stuff_classes)
        self._ignore_label = metadata.get("ignore_label", 255)
        owner = f"of the metadata of {dataset_name}"
        check_classes(len(self.class_names), self._ignore_label, f"stuff_classes {owner}", f"ignore_label {owner}")
        mapping = metadata.get("stuff_dataset_id_to_contiguous_id") or {}
        self._category_ids = {index: category for category, index in mapping.items()}
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self.confusion: np.ndarray | None = None
        self.submission: dict[str, list[dict]] = {}

    def check_images(self, images: Iterable[Mapping]) -> None:
        """Raises ValueError if one of these images has no ground truth."""
        for image in images:
            self._truth_files(image)

    def metric_names(self) -> list[str]:
        """All that `evaluate` may give, as `sem_seg/mIoU`."""
        tasks = (TASK, CORRECTED_TASK) if self.official else (TASK,)
        names = semantic_results(self.new_tally().confusion, self.class_names, official=self.official)
        return [f"{task}/{name}" for task in tasks for name in names]

    def new_tally(self) -> ConfusionTally:
        """Pixels by predicted and true class."""
        return ConfusionTally(len(self.class_names))

    def score(self, sample: Mapping, output: Mapping) -> tuple[np.ndarray, np.ndarray]:
        """The cells of the confusion matrix, flattened, that the image adds to, and the pixels that it adds.

        Args:
            output: `sem_seg`: (K, H, W) scores, or (H, W) integer classes.
        """
        file_name = sample["file_name"]
        where = f"the prediction for {file_name}"
        predicted = self._to_classes(output["sem_seg"], where)
        truth, truth_file = self.read_truth(sample)
        classes = len(self.class_names)
        confusion = count_confusion(predicted, truth, classes, self._ignore_label, where, truth_file)
        if self.write_submission:
            self.submission[file_name] = encode_classes(predicted, file_name, self._category_ids)
        self.examples.add(
            sample.get("image_id", file_name),
            image_quality(confusion),
            lambda: {"file_name": str(file_name), "map": shrunk(predicted)},
        )
        cells = np.flatnonzero(confusion)
        return cells, confusion.reshape(-1)[cells]

    def report(self, tally: ConfusionTally, submissions: Sequence[Mapping]) -> dict[str, dict[str, float]]:
        """IoUs and accuracies; the confusion matrix and the submission are written."""
        self.confusion = tally.confusion
        if self.output_dir is not None:
            content = {"classes": self.class_names, "confusion": self.confusion.tolist()}
            write_json(self.output_dir / COUNTS, content)
        if self.write_submission:
            entries = merge_by_image(submissions)
            write_json(self.output_dir / SUBMISSION, list(itertools.chain.from_iterable(entries.values())))
        return summarize(self.confusion, self.class_names, official=self.official)

    def _to_classes(self, prediction: Any, where: str) -> np.ndarray:
        """(H, W) classes of scores or classes."""
        prediction = torch.as_tensor(prediction).detach()
        if prediction.ndim == 3 and len(prediction) == len(self.class_names):
            return index_of_largest(prediction).cpu().numpy()
        if prediction.ndim == 2 and not prediction.is_floating_point():
            return prediction.cpu().numpy()
        raise ValueError(
            f"{where[0].upper()}{where[1:]} is {prediction.dtype} {tuple(prediction.shape)}; it must be scores "
            f"({len(self.class_names)}, H, W) or integer classes (H, W)."
        )

    def read_truth(self, sample: Mapping) -> tuple[np.ndarray, str]:
        """(H, W) classes, or the label to ignore, and their file.

        Raises:
            FileNotFoundError, ValueError: it is not known, or its file cannot be read.
        """
        sample = self._truth_files(sample)
        if "sem_seg_file_name" in sample:
            return read_record_labels(sample), sample["sem_seg_file_name"]
        segments, renumbered = sample["segments_info"], sample.get("renumbered_segments")
        ids = read_listed_ids(sample["pan_seg_file_name"], segments, renumbered)
        labels = semantic_from_panoptic(ids, segments, self._ignore_label)
        return labels, sample["pan_seg_file_name"]

    def _truth_files(self, sample: Mapping) -> Mapping:
        """The dict that names the ground truth of an image: the model's input, or that of the data set."""
        if "sem_seg_file_name" not in sample and not {"pan_seg_file_name", "segments_info"} <= sample.keys():
            sample = self._registered.get(sample["file_name"], {})
        if "sem_seg_file_name" not in sample and not {"pan_seg_file_name", "segments_info"} <= sample.keys():
            raise ValueError(
                f"An image of {self.dataset_name} has neither sem_seg_file_name nor pan_seg_file_name and "
                "segments_info, in the model's input or in the data set."
            )
        return sample

    @functools.cached_property
    def _registered(self) -> dict[str, dict]:
        return {record["file_name"]: record for record in DatasetCatalog.get(self.dataset_name)}


def encode_classes(classes: np.ndarray, file_name: str, category_ids: Mapping[int, int]) -> list[dict]:
    """A run-length encoded mask for every class of a map (H, W), as Detectron2 writes them.

    Args:
        category_ids: of the classes; a class that has none keeps its index.
    """
    entries = []
    for index in np.unique(classes).tolist():
        encoded = coco_mask.encode(np.asfortranarray(classes == index, dtype=np.uint8))
        segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode("utf-8")}
        category = category_ids.get(index, index)
        entries.append({"file_name": file_name, "category_id": category, "segmentation": segmentation})
    return entries


def score_semantic_files(
    truth_folder: str | Path,
    predicted_folder: str | Path,
    num_classes: int,
    *,
    ignore_label: int = 255,
    workers: int = 1,
) -> np.ndarray:
    """Confusion matrix (K + 1, K + 1) of two folders of label files with the same names.

    Raises:
        FileNotFoundError, ValueError: a folder or prediction is missing, or a file cannot be used.
    """
    truth_folder, predicted_folder = Path(truth_folder), Path(predicted_folder)
    names = sorted(path.name for path in truth_folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not names:
        raise ValueError(f"The folder {truth_folder} has no label files.")
    if missing := [name for name in names if not (predicted_folder / name).is_file()]:
        raise FileNotFoundError(
            f"{predicted_folder} lacks predictions for {len(missing)} of {len(names)} files, among them {missing[0]}."
        )
    pairs = [(predicted_folder / name, truth_folder / name) for name in names]
    compare = functools.partial(compare_files, num_classes, ignore_label)
    return sum(run_jobs(compare, pairs, workers=workers, description="confusion"))


def compare_files(num_classes: int, ignore_label: int, pair: tuple[Path, Path]) -> np.ndarray:
    """Confusion matrix (K + 1, K + 1) of one predicted and one true file."""
    predicted, truth = map(read_semantic_labels, pair)
    return count_confusion(predicted, truth, num_classes, ignore_label, str(pair[0]), pair[1])


def summarize(confusion: np.ndarray, names: Sequence[str], *, official: bool) -> dict[str, dict[str, float]]:
    """Results of every task to report, in percent, of its confusion matrix (K + 1, K + 1); logs the means."""
    results = {TASK: semantic_results(confusion, names, official=official)}
    if official and has_unfounded_classes(confusion):
        results[CORRECTED_TASK] = semantic_results(confusion, names, official=False)
    for task, numbers in results.items():
        means = {name: f"{value:.3f}" for name, value in numbers.items() if "-" not in name}
        logger.info("%s:\n%s", task, tabulate([list(means.values())], headers=list(means), tablefmt="pipe"))
    return results

"""Panoptic quality of predictions while the model runs.

Differs from Detectron2's `COCOPanopticEvaluator`, which writes every prediction as a PNG and has panopticapi read them
again: maps are scored in memory and forgotten, what is kept does not grow with the data set (but for the ids of the
images), and predictions are written only on request. The numbers are panopticapi's own.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from focalnet_d2.data.annotations.ids import Id

from .coco_files import write_json
from .examples import shrunk
from .metadata import loaded_metadata, panoptic_classes
from .panoptic_counts import PanopticCounts, Segments, panoptic_results, read_segments
from .panoptic_files import PanopticSubmission, TruthFile, index_truth_files
from .panoptic_stats import CORRECTED_TASK, TASK, ComparedImage, PanopticStats, compare_maps, summarize
from .streaming import CountingEvaluator

COUNTS, CONFUSION = "panoptic_counts.json", "panoptic_confusion_counts.json"


class PanopticTruth(NamedTuple):
    """An annotated image: (H, W) segment ids, the segments, and the file with the map."""

    map: np.ndarray
    segments: Segments
    file_name: str


class PanopticEvaluator(CountingEvaluator):
    """PQ, SQ and RQ in percent; nan where no class of a group occurs or is predicted.

    The ground truth of an image is `pan_seg_file_name` and `segments_info` of the model's input or, where they are
    missing, what the metadata's `panoptic_json` and `panoptic_root` say. Images that were not processed do not count.

    Args:
        dataset_name: registered name; its metadata have `stuff_classes` (all K names) and the category ids.
        output_dir: where `panoptic_counts.json` is written (summed IoU, tp, fp and fn of each class), what becomes of
            segments (`panoptic_confusion`), the best and worst images, and the submission; None writes nothing.
        official: count as panopticapi does, which takes the areas of true segments from the JSON and knows one crowd
            of a class per image; what is right is added as `panoptic_seg_corrected` where it differs. False gives
            only the right numbers. See `panoptic_counts`.
        write_submission: write the predictions in COCO's format: `panoptic_predictions.json` and a PNG per image.

    `evaluate` returns `{"panoptic_seg": {PQ, SQ, RQ, PQ_th, ..., RQ_st, PQ-<class>}}` on the main process and `{}`
    elsewhere; `counts` then holds the counts of each task. With several processes the last bit of the summed IoUs may
    depend on their number, as panopticapi's does.

    Raises:
        ValueError: metadata that describe no panoptic data set, or a submission without a folder.
    """

    tasks = ("panoptic",)
    examples_task = "panoptic"

    def __init__(
        self,
        dataset_name: str,
        *,
        output_dir: str | Path | None = None,
        official: bool = True,
        write_submission: bool = False,
    ) -> None:
        super().__init__(dataset_name, output_dir=output_dir, write_submission=write_submission)
        self.official = official
        self.classes = panoptic_classes(loaded_metadata(dataset_name))
        self._contiguous: Mapping[Id, int] = {index: index for index in range(len(self.classes.names))}
        self._truth_files: dict[Any, TruthFile] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self.counts: dict[str, PanopticCounts] = {}
        category_ids = dict(enumerate(self.classes.contiguous))
        self.submission = PanopticSubmission(self.output_dir, category_ids) if self.write_submission else None

    def check_images(self, images: Iterable[Mapping]) -> None:
        """Raises ValueError if the ground truth of one of these images is not known."""
        for image in images:
            self._truth(image)

    def metric_names(self) -> list[str]:
        """All that `evaluate` may give, as `panoptic_seg/PQ`."""
        tasks = (TASK, CORRECTED_TASK) if self.official else (TASK,)
        names = panoptic_results(self.new_tally().corrected, self.classes)
        return [f"{task}/{name}" for task in tasks for name in names]

    def new_tally(self) -> PanopticStats:
        """Counts of the official rules and of the right ones."""
        return PanopticStats(len(self.classes.names))

    def score(self, sample: Mapping, output: Mapping) -> tuple[ComparedImage, str]:
        """What the image adds to the tally, and the file with its ground truth.

        Args:
            output: `panoptic_seg`: (H, W) segment ids, and a list of `id` and `category_id`.
        """
        predicted_map, segments_info = output["panoptic_seg"]
        where = f"the prediction for image {sample['image_id']}"
        if segments_info is None:
            raise ValueError(f"The list of segments of {where} is None; it must say the category of every id.")
        predicted = read_segments(segments_info, self._contiguous, where)
        predicted_map = _to_array(predicted_map, where)
        truth = self.read_truth(sample)
        compared = compare_maps(truth.map, predicted_map, truth.segments, predicted, where, truth.file_name)
        if self.submission is not None:
            self.submission.add(sample, predicted_map, predicted)
        self.examples.add(
            sample["image_id"], compared.quality, lambda: _example(sample, predicted_map, predicted, compared)
        )
        return compared, truth.file_name

    def read_truth(self, sample: Mapping) -> PanopticTruth:
        """The annotation of an image.

        Raises:
            FileNotFoundError, ValueError: it is not known, or its file cannot be read.
        """
        truth, index_of = self._truth(sample)
        segments = read_segments(truth.segments_info, index_of, truth.file_name)
        return PanopticTruth(truth.read_map(), segments, str(truth.file_name))

    def report(self, stats: PanopticStats, submissions: Sequence[PanopticSubmission]) -> dict[str, dict[str, float]]:
        """PQ and its parts; the counts and the list of the submission are written."""
        self.counts = stats.counts(official=self.official)
        if self.output_dir is not None:
            names = self.classes.names
            content = {task: counts.to_dict(names) for task, counts in self.counts.items()}
            write_json(self.output_dir / COUNTS, content, indent=1)
            write_json(self.output_dir / CONFUSION, stats.confusion.to_plain(names))
        if self.write_submission:
            PanopticSubmission.write_list(submissions)
        return summarize(stats, self.classes, official=self.official)

    def _truth(self, sample: Mapping) -> tuple[TruthFile, Mapping[Id, int]]:
        """Ground truth of an image, and the class index of each of its category ids."""
        if "pan_seg_file_name" in sample and "segments_info" in sample:
            renumbered = sample.get("renumbered_segments")
            truth = TruthFile(sample["pan_seg_file_name"], sample["segments_info"], renumbered=renumbered)
            return truth, self._contiguous
        if self._truth_files is None:
            metadata = loaded_metadata(self.dataset_name)
            truth_json = metadata.get("panoptic_json")
            if truth_json is None:
                raise ValueError(
                    f"Image {sample['image_id']} comes without pan_seg_file_name and segments_info, and "
                    f"{self.dataset_name} has no panoptic_json: let the mapper keep them, or register it."
                )
            self._truth_files = index_truth_files(truth_json, metadata.get("panoptic_root"))
        if sample["image_id"] not in self._truth_files:
            raise ValueError(f"The panoptic_json of {self.dataset_name} has no image {sample['image_id']}.")
        return self._truth_files[sample["image_id"]], self.classes.contiguous


def _example(
    sample: Mapping, predicted_map: np.ndarray, predicted: Segments, compared: ComparedImage
) -> dict[str, Any]:
    """What is kept of a prediction (H, W) to be drawn; classes by index."""
    return {
        "file_name": str(sample.get("file_name", "")),
        "map": shrunk(predicted_map),
        "segments": [[number, index] for number, index in zip(predicted.ids.tolist(), predicted.classes.tolist())],
        "counts": [
            len(one) for one in (compared.corrected.matched, compared.corrected.false, compared.corrected.missed)
        ],
    }


def _to_array(predicted_map: Any, where: str) -> np.ndarray:
    """(H, W) integers of a tensor on any device, or of an array."""
    array = predicted_map.cpu().numpy() if isinstance(predicted_map, torch.Tensor) else np.asarray(predicted_map)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise ValueError(f"The map of {where} must be integers (H, W), not {array.dtype} {array.shape}.")
    return array

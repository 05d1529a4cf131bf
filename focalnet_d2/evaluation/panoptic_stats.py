"""What a panoptic evaluation adds up, image after image: counts by both sets of rules, and what is wrong with areas."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tabulate import tabulate

from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.panoptic_labels import unlisted_ids_message
from focalnet_d2.utils.text import some_of

from .panoptic_confusion import PanopticConfusion, SegmentFates, segment_fates
from .panoptic_counts import (
    ImageScore,
    PanopticCounts,
    Segments,
    count_overlaps,
    panoptic_results,
    score_segments,
    true_areas,
)

TASK, CORRECTED_TASK = "panoptic_seg", "panoptic_seg_corrected"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ComparedImage:
    """An image by both sets of rules, how many true segments have an area other than annotated, and all fates."""

    official: ImageScore
    corrected: ImageScore
    wrong_areas: int
    fates: SegmentFates

    @property
    def quality(self) -> float:
        """PQ of the image alone, all classes as one, by the corrected rules; nan without segments."""
        score = self.corrected
        segments = len(score.ious) + 0.5 * (len(score.false) + len(score.missed))
        return float(score.ious.sum() / segments) if segments else float("nan")


def compare_maps(
    truth_map: np.ndarray,
    predicted_map: np.ndarray,
    truth: Segments,
    predicted: Segments,
    where: str,
    truth_file: str | Path,
) -> ComparedImage:
    """Score a predicted map (H, W) of segment ids against the true one.

    Args:
        where: the prediction, for messages; truth_file: that of the true map.

    Raises:
        ValueError: maps of different sizes, a true map with segments that its list lacks, or a prediction whose map and
            list name different segments.
    """
    overlaps = checked_overlaps(truth_map, predicted_map, truth, predicted, where, truth_file)
    if overlaps[:, -1].any():
        unlisted = np.setdiff1d(predicted_map, np.append(predicted.ids, 0))
        raise ValueError(f"The map of {where} has segments that its list lacks: {some_of(unlisted, 10)}.")
    if len(empty := predicted.ids[overlaps[:, 1:-1].sum(0) == 0]):
        raise ValueError(f"The list of {where} has segments without a pixel in its map: {some_of(empty, 10)}.")
    official = score_segments(overlaps, truth, predicted, official=True)
    wrong_areas = int((true_areas(overlaps, truth, official=True) != true_areas(overlaps, truth, official=False)).sum())
    same = not wrong_areas and np.array_equal(truth.crowd, truth.last_crowd)
    corrected = official if same else score_segments(overlaps, truth, predicted, official=False)
    return ComparedImage(official, corrected, wrong_areas, segment_fates(overlaps, truth, predicted))


def checked_overlaps(
    truth_map: np.ndarray,
    predicted_map: np.ndarray,
    truth: Segments,
    predicted: Segments,
    where: str,
    truth_file: str | Path,
) -> np.ndarray:
    """`count_overlaps` of a predicted and a true map (H, W): (G + 2, P + 2).

    Raises:
        ValueError: maps of different sizes, or a true map with segments that its list lacks.
    """
    if predicted_map.shape != truth_map.shape:
        raise ValueError(
            f"The map of {where} is {predicted_map.shape} pixels (height, width), its ground truth {truth_map.shape}: "
            "predict at the size of the annotated image."
        )
    overlaps = count_overlaps(truth_map, predicted_map, truth, predicted)
    if overlaps[-1].any():
        raise ValueError(unlisted_ids_message(truth_file, np.setdiff1d(truth_map, np.append(truth.ids, 0))))
    return overlaps


class PanopticStats:
    """Counts of all images so far; its size does not depend on how many there were.

    `official` and `corrected` are the `PanopticCounts` of the two sets of rules, `confusion` has the fates of segments.
    """

    def __init__(self, num_classes: int) -> None:
        self.official = PanopticCounts(num_classes)
        self.corrected = PanopticCounts(num_classes)
        self.confusion = PanopticConfusion(num_classes)
        self._wrong_areas = self._wrong_files = 0
        self._first_wrong_file: str | None = None

    def add(self, image: ComparedImage, truth_file: str) -> None:
        """Count an image, whose ground truth is in `truth_file`."""
        self.official.add(image.official)
        self.corrected.add(image.corrected)
        self.confusion.add(image.fates)
        if image.wrong_areas:
            self._wrong_areas += image.wrong_areas
            self._wrong_files += 1
            self._first_wrong_file = self._first_wrong_file or truth_file

    def merge(self, other: "PanopticStats") -> None:
        """Add the images of another process."""
        self.official.merge(other.official)
        self.corrected.merge(other.corrected)
        self.confusion.merge(other.confusion)
        self._wrong_areas += other._wrong_areas
        self._wrong_files += other._wrong_files
        self._first_wrong_file = self._first_wrong_file or other._first_wrong_file

    def counts(self, *, official: bool) -> dict[str, PanopticCounts]:
        """The counts to report, by task: those asked for, and the corrected ones where the official ones differ."""
        if not official:
            return {TASK: self.corrected}
        return {TASK: self.official} | ({} if self.official == self.corrected else {CORRECTED_TASK: self.corrected})

    def report_areas(self) -> None:
        """Warn of ground-truth files whose annotated areas are not those of the pixels."""
        if self._wrong_areas:
            logger.warning(
                "%d segments in %d ground-truth files have an annotated area that is not their number of pixels, first "
                "in %s. The official rules use the annotated areas, which makes IoUs wrong; repair the JSON.",
                self._wrong_areas,
                self._wrong_files,
                self._first_wrong_file,
            )


def summarize(tally: PanopticStats, classes: ClassMap, *, official: bool) -> dict[str, dict[str, float]]:
    """Results of every task to report, in percent; they and what is wrong with areas are logged."""
    tally.report_areas()
    results = {}
    for task, counts in tally.counts(official=official).items():
        results[task] = panoptic_results(counts, classes)
        logger.info(
            "%s:\n%s", task, panoptic_table(results[task], counts, [entry.is_thing for entry in classes.classes])
        )
    return results


def panoptic_table(results: dict[str, float], counts: PanopticCounts, things: Sequence[bool]) -> str:
    """PQ, SQ, RQ and the number of classes and segments behind them, of all classes, things and stuff."""
    things = np.array(things, bool)
    segments = counts.tp + counts.fp + counts.fn
    groups = {"All": ("", np.ones_like(things)), "Things": ("_th", things), "Stuff": ("_st", ~things)}
    rows = []
    for name, (suffix, members) in groups.items():
        numbers = [f"{results[metric + suffix]:.3f}" for metric in ("PQ", "SQ", "RQ")]
        sums = [int(values[members].sum()) for values in (segments > 0, counts.tp, counts.fp, counts.fn)]
        rows.append([name, *numbers, *sums])
    headers = ["", "PQ", "SQ", "RQ", "classes", "TP", "FP", "FN"]
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)

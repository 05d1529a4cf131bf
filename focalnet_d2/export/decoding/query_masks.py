"""Panoptic, instance and semantic results of class and mask logits of queries: Mask2Former.

The rules are those of `mask2former/postprocessing.py`; maps of Q x H x W numbers are never made: all results grow
together, a few rows at a time.

Shapes: Q queries, K classes, H x W pixels of the result, R rows of a tile.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..result import Sizes
from .activations import sigmoid, softmax
from .mask_results import InstanceList, PanopticMap, SemanticMap
from .resizing import MaskGrid, tiles

_FLOAT_BYTES = 4


def decode(outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
    """The results of one image that `settings["tasks"]` names, as fields of a `Result`.

    Args:
        outputs: `pred_logits` (Q, K + 1), no object last; `pred_masks` (Q, h, w) logits over the padded input.
        settings: `export_settings` of the model; `threshold`, of the scores of instances, is 0 unless it is there.
        sizes: of the image.
    """
    class_probs = softmax(outputs["pred_logits"])
    height, width = outputs["pred_masks"].shape[1:]
    grid = MaskGrid((height, width), sizes)
    results = start_results(class_probs, settings, sizes.output)
    if len(results) == 1 and isinstance(results[0], SemanticMap) and sizes.image != sizes.output:
        _fill_by_class(results[0], outputs["pred_masks"], grid)
    else:
        _fill(results, outputs["pred_masks"], grid, sizes.output)
    return {name: value for result in results for name, value in result.result().items()}


def start_results(class_probs: np.ndarray, settings: Mapping[str, Any], size: tuple[int, int]) -> list[Any]:
    """Empty results of (Q, K + 1)."""
    results: list[Any] = []
    if "sem_seg" in settings["tasks"]:
        results.append(SemanticMap(class_probs[:, :-1], size))
    if "panoptic" in settings["tasks"]:
        results.append(_start_panoptic(class_probs, settings, size))
    if "segm" in settings["tasks"]:
        results.append(_start_instances(class_probs, settings, size))
    return results


def _start_panoptic(class_probs: np.ndarray, settings: Mapping[str, Any], size: tuple[int, int]) -> PanopticMap:
    """For the queries whose best class is one, and more probable than the threshold."""
    scores, labels = class_probs.max(-1), class_probs.argmax(-1)  # (Q,), (Q,)
    kept = (labels != class_probs.shape[1] - 1) & (scores > settings["object_mask_threshold"])
    queries = kept.nonzero()[0]  # (G,)
    return PanopticMap(
        queries, scores=scores[queries], labels=labels[queries], size=size,
        thing_ids=settings["thing_ids"], overlap_threshold=settings["overlap_threshold"],
    )  # fmt: skip


def _start_instances(class_probs: np.ndarray, settings: Mapping[str, Any], size: tuple[int, int]) -> InstanceList:
    """For the pairs of query and class of largest class probability, which no score of the pair is above."""
    num_classes, threshold = class_probs.shape[1] - 1, settings.get("threshold", 0.0)
    flat = class_probs[:, :-1].ravel()
    pairs = np.argsort(-flat, kind="stable")[: settings["top_k"]]
    stays = flat[pairs] >= threshold
    if "panoptic" in settings["tasks"]:
        stays &= np.isin(pairs % num_classes, settings["thing_ids"])
    pairs = pairs[stays]
    return InstanceList(
        pairs // num_classes, classes=pairs % num_classes, class_scores=flat[pairs],
        size=size, score_threshold=threshold,
    )  # fmt: skip


def _rows_first(masks: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Some masks as float32: (Q, h, w), (D,) -> (h, D, w)."""
    return np.ascontiguousarray(masks[queries].transpose(1, 0, 2), dtype=np.float32)


def _fill(results: Sequence[Any], masks: np.ndarray, grid: MaskGrid, size: tuple[int, int]) -> None:
    """Masks are resized, and everything is made of them at the size of the result."""
    queries = np.unique(np.concatenate([result.queries for result in results]))
    chosen = [np.searchsorted(queries, result.queries) for result in results]  # their places in `queries`
    if not len(queries):
        return
    rows_first = _rows_first(masks, queries)  # (h, D, w)
    for start, stop in tiles(size[0], len(queries) * size[1] * _FLOAT_BYTES):
        logits = grid.output_rows(rows_first, start, stop)  # (R, D, W)
        probs = sigmoid(logits)
        for result, own in zip(results, chosen, strict=True):
            if len(own) == len(queries):
                result.add(start, logits, probs)
            else:
                result.add(start, logits[:, own], probs[:, own])


def _fill_by_class(semantic: SemanticMap, masks: np.ndarray, grid: MaskGrid) -> None:
    """Class scores are computed at the resolution of the network, and these are resized."""
    rows_first = _rows_first(masks, semantic.queries)  # (h, Q, w)
    (image_rows, image_columns), (output_rows, output_columns) = grid.to_image, grid.to_output
    widest = max(len(image_columns), len(output_columns))
    row_bytes = max(semantic.weights.shape) * widest * _FLOAT_BYTES
    for start, stop in tiles(len(output_rows), row_bytes):
        first, end = output_rows.span(start, stop)  # rows of the image in the network's input
        low, high = image_rows.span(first, end)  # rows of the logits
        probs = sigmoid(image_rows.rows(image_columns.columns(rows_first[low:high]), first, end, low))  # (R', Q, w)
        scores = np.ascontiguousarray(semantic.class_scores(probs).transpose(0, 2, 1))  # (R', K, w)
        resized = output_columns.columns(output_rows.rows(scores, start, stop, first))  # (R, K, W)
        semantic.classes[start:stop] = resized.argmax(1)

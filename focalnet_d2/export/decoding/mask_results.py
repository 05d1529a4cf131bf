"""The results of one image while they grow, row by row.

Each has the `queries` that it is made of, `add` for the rows of a tile and `result` for the end, the fields of a
`Result`. The rules are those of `mask2former/accumulators.py`.

Shapes: Q queries, K classes, H x W pixels of the result, R rows of a tile, G queries of the panoptic map, N instances
made of D queries.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np


class SemanticMap:
    """The best class of every pixel.

    Args:
        class_probs: (Q, K), without no object.
        size: (H, W) of the result.
    """

    def __init__(self, class_probs: np.ndarray, size: tuple[int, int]):
        self.queries = np.arange(len(class_probs))
        self.weights = np.ascontiguousarray(class_probs)
        self.classes = np.zeros(size, np.int32)

    def class_scores(self, probs: np.ndarray) -> np.ndarray:
        """Sum over queries of class times mask probability: (R, Q, W) -> (R, W, K)."""
        return np.matmul(probs.transpose(0, 2, 1), self.weights)

    def add(self, start: int, logits: np.ndarray, probs: np.ndarray) -> None:
        """Rows from `start` on: (R, Q, W)."""
        self.classes[start : start + len(probs)] = self.class_scores(probs).argmax(-1)

    def result(self) -> dict[str, Any]:
        """`semantic_map`."""
        return {"semantic_map": self.classes}


class PanopticMap:
    """One segment or none for every pixel.

    Args:
        queries: (G,) those that take part; scores: (G,); labels: (G,) their classes.
        size: (H, W) of the result.
        thing_ids: classes of which every query is a segment of its own.
        overlap_threshold: a segment is kept when it owns at least this share of its query's mask.
    """

    def __init__(
        self,
        queries: np.ndarray,
        *,
        scores: np.ndarray,
        labels: np.ndarray,
        size: tuple[int, int],
        thing_ids: Collection[int],
        overlap_threshold: float,
    ):
        self.queries = queries
        self.scores, self.labels = scores, labels
        self.thing_ids = thing_ids
        self.overlap_threshold = overlap_threshold
        # Index of the pixel's owner; plus G where the owner's own mask has the pixel.
        self.owners = np.zeros(size, np.int32)
        self.owned = np.zeros(2 * len(queries), np.int64)
        self.areas = np.zeros(len(queries), np.int64)

    def add(self, start: int, logits: np.ndarray, probs: np.ndarray) -> None:
        """Rows from `start` on: (R, G, W)."""
        count = len(self.queries)
        if count == 0:
            return
        owner = (probs * self.scores[:, None]).argmax(1)  # (R, W)
        owner += count * (np.take_along_axis(probs, owner[:, None], 1)[:, 0] >= 0.5)
        self.owners[start : start + len(owner)] = owner
        self.owned += np.bincount(owner.ravel(), minlength=2 * count)
        self.areas += np.count_nonzero(probs >= 0.5, axis=(0, 2))

    def result(self) -> dict[str, Any]:
        """`panoptic_map`, and `segments` in the order of their ids."""
        count = len(self.queries)
        if count == 0:
            return {"panoptic_map": self.owners, "segments": ()}
        outside, inside = self.owned.reshape(2, count)
        shares = (outside + inside) / np.maximum(self.areas, 1)  # (G,)
        kept = (inside > 0) & (shares >= self.overlap_threshold)
        ids, segments = number_segments(self.labels, self.scores, kept, self.thing_ids)
        table = np.array([0] * count + ids, np.int32)
        return {"panoptic_map": table[self.owners], "segments": segments}


def number_segments(
    labels: Sequence[int] | np.ndarray, scores: np.ndarray, kept: np.ndarray, thing_ids: Collection[int]
) -> tuple[list[int], tuple[dict[str, Any], ...]]:
    """The segment id of each query, 0 for those that become none.

    Args:
        labels, scores: (G,) class of each query and its probability; kept: (G,) bool, it becomes a segment.
        thing_ids: classes of which every query is a segment of its own; those of one other class share one.

    Returns:
        The ids; segments with id, class_id, isthing and the highest score of their queries.
    """
    ids: list[int] = []
    segments: list[dict[str, Any]] = []
    stuff: dict[int, dict[str, Any]] = {}  # segment of the class
    for label, score, stays in zip(map(int, labels), map(float, scores), kept, strict=True):
        segment = stuff.get(label) if stays else None
        if stays and segment is None:
            isthing = label in thing_ids
            segment = {"id": len(segments) + 1, "class_id": label, "isthing": isthing, "score": score}
            segments.append(segment)
            if not isthing:
                stuff[label] = segment
        if segment is not None:
            segment["score"] = max(segment["score"], score)
        ids.append(0 if segment is None else segment["id"])
    return ids, tuple(segments)


class InstanceList:
    """Pairs of query and class with mask, box and score.

    Args:
        queries, classes, class_scores: (N,) of each pair.
        size: (H, W) of the masks.
        score_threshold: pairs with a lower score are left out.
    """

    def __init__(
        self,
        queries: np.ndarray,
        *,
        classes: np.ndarray,
        class_scores: np.ndarray,
        size: tuple[int, int],
        score_threshold: float,
    ):
        self.classes, self.class_scores = classes, class_scores
        self.score_threshold = score_threshold
        self.queries, self.places = np.unique(queries, return_inverse=True)  # (D,), (N,) into them
        height, width = size
        self.masks = np.empty((len(self.queries), height, width), bool)
        self.row_areas = np.zeros((height, len(self.queries)), np.int64)
        self.row_sums = np.zeros((height, len(self.queries)))  # of the probabilities inside the mask
        self.columns = np.zeros((len(self.queries), width), bool)  # where the mask has a pixel

    def add(self, start: int, logits: np.ndarray, probs: np.ndarray) -> None:
        """Rows from `start` on: (R, D, W)."""
        rows = slice(start, start + len(logits))
        inside = logits > 0  # (R, D, W)
        self.masks[:, rows] = inside.transpose(1, 0, 2)
        self.columns |= inside.any(0)
        self.row_areas[rows] = np.count_nonzero(inside, axis=-1)
        above = np.maximum(probs - np.float32(0.5), 0)  # 0 where a mask is not
        self.row_sums[rows] = above.sum(-1) + 0.5 * self.row_areas[rows]

    def result(self) -> dict[str, Any]:
        """`boxes`, `scores`, `class_ids` and `masks`, best score first; an empty mask has score 0 and the box 0."""
        areas, sums = self.row_areas.sum(0), self.row_sums.sum(0)  # (D,)
        mask_scores = (sums / (areas + 1e-6)).astype(np.float32)  # (D,)
        (top, bottom), (left, right) = extent(self.row_areas.T > 0), extent(self.columns)  # (D,) each
        boxes = np.stack([left, top, right, bottom], axis=1).astype(np.float32)  # (D, 4)
        scores = self.class_scores * mask_scores[self.places]  # (N,)
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] >= self.score_threshold]
        places = self.places[order]
        return {
            "boxes": boxes[places],
            "scores": scores[order],
            "class_ids": self.classes[order],
            "masks": self.masks[places],
        }


def extent(occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First True and last True + 1 of each row, 0 and 0 where there is none: (D, n) bool -> (D,), (D,)."""
    first = occupied.argmax(1)
    stop = occupied.shape[1] - occupied[:, ::-1].argmax(1)
    return first, stop * occupied.any(1)

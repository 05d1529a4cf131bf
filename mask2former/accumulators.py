"""The results of one image while they grow, row by row, in memory that does not depend on the number of queries.

Each has the `queries` that it is made of, `add` for the rows of a tile and `result` for the end. `add` is given the
masks of some queries, and `query_index`, the places of its queries among them.

Shapes: Q queries, K classes, H x W pixels of the result, R rows of a tile, G queries of the panoptic map, N instances
made of D queries.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor

from focalnet_d2.kernels.argmax import index_of_largest
from focalnet_d2.structures.packed_masks import PackedMasks
from focalnet_d2.structures.query_outcomes import Outcome


class SemanticMap:
    """Class scores of every pixel, or the best class where scores take too much.

    Args:
        class_probs: (Q, K), without no object.
        size: (H, W) of the result.
        dense: keep the scores.
    """

    def __init__(self, class_probs: Tensor, *, size: tuple[int, int], dense: bool):
        self.weights = class_probs.T.contiguous()  # (K, Q)
        self.queries = torch.arange(len(class_probs), device=class_probs.device)
        self.scores = class_probs.new_empty(len(self.weights), *size) if dense else None  # else the best classes:
        self.classes = torch.empty((0, 0) if dense else size, dtype=torch.int16, device=class_probs.device)

    def class_scores(self, mask_probs: Tensor) -> Tensor:
        """Sum over queries of class times mask probability: (Q, R, W) -> (K, R, W)."""
        return (self.weights @ mask_probs.flatten(1)).unflatten(1, mask_probs.shape[1:])

    def add(self, start: int, mask_logits: Tensor, mask_probs: Tensor, query_index: Tensor) -> None:
        """Rows from `start` on: (Q, R, W); all queries are its own."""
        stop, width = start + mask_probs.shape[1], mask_probs.shape[2]
        if self.scores is not None:
            scores = self.scores.flatten(1)[:, start * width : stop * width]  # (K, R * W)
            torch.mm(self.weights, mask_probs.flatten(1), out=scores)
        else:
            self.classes[start:stop] = index_of_largest(self.class_scores(mask_probs))

    def add_scores(self, start: int, scores: Tensor) -> None:
        """Rows from `start` on: (K, R, W)."""
        stop = start + scores.shape[1]
        if self.scores is not None:
            self.scores[:, start:stop] = scores
        else:
            self.classes[start:stop] = index_of_largest(scores)

    def result(self) -> Tensor:
        """(K, H, W) scores or (H, W) int16 classes."""
        return self.classes if self.scores is None else self.scores


class Decision(NamedTuple):
    """What a panoptic map makes of one of its queries; see `QueryOutcome`."""

    outcome: Outcome
    segment: int
    area: int
    owned: int
    inside: int


def why_dropped(owned: int, inside: int, area: int, overlap_threshold: float) -> Outcome | None:
    """Why a query becomes no segment; None where it becomes one. The arguments are those of `number_segments`."""
    if not inside:
        return "covered" if area else "empty mask"
    return "overlap" if owned / area < overlap_threshold else None


class PanopticMap:
    """One segment or none for every pixel.

    Args:
        queries: (G,) those that take part; scores: (G,); labels: their classes.
        size: (H, W) of the result.
        thing_ids: classes of which every query is a segment of its own.
        overlap_threshold: a segment is kept when it owns at least this share of its query's mask.
    """

    def __init__(
        self,
        queries: Tensor,
        *,
        scores: Tensor,
        labels: Sequence[int],
        size: tuple[int, int],
        thing_ids: Sequence[int],
        overlap_threshold: float,
    ):
        self.queries = queries
        self.scores = scores
        self.labels = labels
        self.thing_ids = thing_ids
        self.overlap_threshold = overlap_threshold
        # Index of the pixel's owner; plus G where the owner's own mask has the pixel.
        self.owners = torch.zeros(size, dtype=torch.int32, device=queries.device)
        self.owned = torch.zeros(2 * len(queries), dtype=torch.int64, device=queries.device)
        self.areas = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)

    def add(self, start: int, mask_logits: Tensor, mask_probs: Tensor, query_index: Tensor) -> None:
        """Rows from `start` on: (queries, R, W) of which G are its own."""
        count = len(self.queries)
        if count == 0:
            return
        mask_probs = mask_probs.index_select(0, query_index)  # (G, R, W)
        owner = index_of_largest(mask_probs * self.scores[:, None, None]).long()  # (R, W)
        inside = mask_probs.gather(0, owner[None])[0] >= 0.5  # (R, W)
        owner += count * inside
        self.owners[start : start + len(owner)] = owner
        self.owned += torch.bincount(owner.flatten(), minlength=2 * count)
        self.areas += ones_where(torch.ge, mask_probs, 0.5).sum(-1).sum(-1, dtype=torch.int64)

    def result(self) -> tuple[Tensor, list[dict]]:
        """(H, W) int32 segment ids, 0 for none, and the segments in the order of their ids.

        To what `number_segments` says of a segment comes "score", the highest of its queries.
        """
        count = len(self.queries)
        if count == 0:
            return self.owners, []
        ids, segments = number_segments(
            self.labels, *self._pixels(), thing_ids=self.thing_ids, overlap_threshold=self.overlap_threshold
        )
        for number, score in zip(ids, self.scores.tolist(), strict=True):
            if number:
                segments[number - 1]["score"] = max(score, segments[number - 1].get("score", 0.0))
        table = torch.tensor([0] * count + ids, dtype=torch.int32, device=self.owners.device)
        return table.index_select(0, self.owners.flatten()).view(self.owners.shape), segments

    def decisions(self) -> list[Decision]:
        """What became of each of the G queries, once all rows are there."""
        owned, inside, areas = self._pixels()
        ids, _ = number_segments(
            self.labels, owned, inside, areas, thing_ids=self.thing_ids, overlap_threshold=self.overlap_threshold
        )
        decisions, seen = [], set()
        for segment, own, both, area in zip(ids, owned, inside, areas, strict=True):
            kept: Outcome = "merged" if segment in seen else "segment"
            outcome = why_dropped(own, both, area, self.overlap_threshold) or kept
            decisions.append(Decision(outcome, segment, area=area, owned=own, inside=both))
            seen.add(segment)
        return decisions

    def _pixels(self) -> tuple[list[int], list[int], list[int]]:
        """Owned, inside and areas of the queries, as `number_segments` takes them."""
        outside, inside = self.owned.view(2, len(self.queries)).tolist()
        return [a + b for a, b in zip(outside, inside)], inside, self.areas.tolist()


def number_segments(
    labels: Sequence[int],
    owned: Sequence[int],
    inside: Sequence[int],
    areas: Sequence[int],
    *,
    thing_ids: Sequence[int],
    overlap_threshold: float,
) -> tuple[list[int], list[dict]]:
    """The segment id of each query, 0 for those that become none.

    Args:
        labels: classes of the queries.
        owned: pixels whose owner is the query; inside: those of them in its mask; areas: pixels of its mask.
        thing_ids, overlap_threshold: see `PanopticMap`.

    Returns:
        The ids; segments with "id", "isthing", "category_id". Queries of one stuff class share a segment.
    """
    ids, segments, stuff_ids = [], [], {}
    for label, owned_area, both, area in zip(labels, owned, inside, areas, strict=True):
        if why_dropped(owned_area, both, area, overlap_threshold):
            ids.append(0)
        elif label in stuff_ids:
            ids.append(stuff_ids[label])
        else:
            isthing = label in thing_ids
            segments.append({"id": len(segments) + 1, "isthing": isthing, "category_id": label})
            ids.append(len(segments))
            if not isthing:
                stuff_ids[label] = len(segments)
    return ids, segments


class InstanceList:
    """Pairs of query and class with mask, box and score.

    Args:
        queries, classes, class_scores: (N,) of each pair.
        size: (H, W) of the masks.
        dense: masks as a bool tensor, otherwise `PackedMasks`.
    """

    def __init__(self, queries: Tensor, *, classes: Tensor, class_scores: Tensor, size: tuple[int, int], dense: bool):
        self.classes = classes
        self.class_scores = class_scores
        self.size = size
        self.queries, self.places = queries.unique(return_inverse=True)  # (D,), (N,) into them
        height, width = size
        device, found = queries.device, len(self.queries)
        shape = (len(queries), height, width)
        self.masks = torch.empty(shape, dtype=torch.bool, device=device) if dense else PackedMasks.zeros(shape, device)
        self.row_areas = class_scores.new_zeros(found, height)
        self.row_sums = class_scores.new_zeros(found, height)  # of the probabilities inside the mask
        self.columns = class_scores.new_zeros(found, width)  # 1 where the mask has a pixel

    def add(self, start: int, mask_logits: Tensor, mask_probs: Tensor, query_index: Tensor) -> None:
        """Rows from `start` on: (queries, R, W) of which D are its own."""
        stop = start + mask_logits.shape[1]
        mask_logits = mask_logits.index_select(0, query_index)  # (D, R, W)
        mask_probs = mask_probs.index_select(0, query_index)  # (D, R, W)
        inside = mask_logits > 0  # (D, R, W)
        if isinstance(self.masks, PackedMasks):
            self.masks.set_rows(start, PackedMasks.pack(inside)[self.places])
        else:
            self.masks[:, start:stop] = inside.index_select(0, self.places)
        ones = ones_where(torch.gt, mask_logits, 0)  # (D, R, W)
        self.row_areas[:, start:stop] = ones.sum(-1)
        self.columns = torch.maximum(self.columns, ones.amax(1))
        self.row_sums[:, start:stop] = ones.mul_(mask_probs).sum(-1)

    def result(self) -> Instances:
        """Instances with `pred_masks`, `pred_boxes`, `scores`, `pred_classes`, `query_indices`."""
        areas = self.row_areas.sum(1, dtype=torch.float64)  # (D,)
        mask_scores = self.row_sums.sum(1, dtype=torch.float64) / (areas + 1e-6)  # (D,)
        (top, bottom), (left, right) = extent(self.row_areas > 0), extent(self.columns > 0)  # (D,) each
        boxes = torch.stack([left, top, right, bottom], dim=1).to(torch.float32)  # (D, 4)
        instances = Instances(self.size)
        instances.pred_masks = self.masks
        instances.pred_boxes = Boxes(boxes[self.places])
        instances.scores = self.class_scores * mask_scores[self.places].to(self.class_scores.dtype)
        instances.pred_classes = self.classes
        instances.query_indices = self.queries[self.places]
        return instances


def ones_where(compare, maps: Tensor, bound: float) -> Tensor:
    """`compare(maps, bound)` as 0 and 1 in the type of `maps`, which are added up much faster than bools."""
    return compare(maps, bound, out=torch.empty_like(maps))


def extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First True and last True + 1 of each row, 0 and 0 where there is none: (D, n) bool -> (D,), (D,)."""
    marks = occupied.to(torch.uint8)
    first = marks.argmax(1)
    stop = occupied.shape[1] - marks.flip(1).argmax(1)
    return first, stop * occupied.any(1)

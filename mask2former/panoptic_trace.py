"""What became of every query of a panoptic map: the map itself says it, while it grows as it does without.

Shapes: Q queries, H x W pixels of the result, R rows of a tile, G queries of the panoptic map.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from focalnet_d2.structures.query_outcomes import Outcome, QueryOutcome

from .accumulators import PanopticMap
from .object_queries import BestClasses


class PanopticStart(Protocol):
    """What makes an empty map for an image: a `PanopticInference`."""

    def start(self, class_probs: Tensor, size: tuple[int, int], thing_ids: Sequence[int]) -> PanopticMap:
        """Of (Q, K + 1) and (H, W); see `PanopticInference.start`."""
        ...


class TracedPanoptic:
    """Stands in for a `PanopticInference` and keeps what its maps decided.

    Args:
        inference: what stays in charge.

    Attributes:
        images: the map of each image, in their order.
    """

    def __init__(self, inference: PanopticStart):
        self.inference = inference
        self.images: list[TracedMap] = []

    def start(self, class_probs: Tensor, size: tuple[int, int], thing_ids: Sequence[int]) -> "TracedMap":
        """The empty map of `size` (H, W) that `inference` starts for (Q, K + 1), watched."""
        traced = TracedMap(self.inference.start(class_probs, size, thing_ids), BestClasses.of(class_probs))
        self.images.append(traced)
        return traced


class TracedMap:
    """A `PanopticMap` that is watched.

    Args:
        panoptic: grows here and gives the result.
        best: of all Q queries.
    """

    def __init__(self, panoptic: PanopticMap, best: BestClasses):
        self.panoptic, self.best = panoptic, best
        self.queries = panoptic.queries
        count = len(panoptic.queries)
        self.owners_in = torch.zeros(count, count, dtype=torch.int64)  # pixels of a mask (row) by their owner (column)

    def add(self, start: int, mask_logits: Tensor, mask_probs: Tensor, query_index: Tensor) -> None:
        """Rows from `start` on, (queries, R, W); see `PanopticMap.add`."""
        self.panoptic.add(start, mask_logits, mask_probs, query_index)
        count = len(self.queries)
        if count:
            owner = (self.panoptic.owners[start : start + mask_probs.shape[1]] % count).long()  # (R, W)
            for row, mask in enumerate(mask_probs.index_select(0, query_index) >= 0.5):
                self.owners_in[row] += torch.bincount(owner[mask], minlength=count).cpu()

    def result(self) -> Any:
        """See `PanopticMap.result`."""
        return self.panoptic.result()

    def outcomes(self) -> list[QueryOutcome]:
        """What became of each of the Q queries, in their order."""
        scores, labels, is_object = (values.tolist() for values in self.best)
        decided = dict(zip(self.queries.tolist(), self._decided(), strict=True))
        rows = []
        for query, (score, label, object_) in enumerate(zip(scores, labels, is_object, strict=True)):
            reason: Outcome = "low score" if object_ else "no object"
            plain = QueryOutcome(query, label if object_ else None, score, reason)
            rows.append(plain._replace(**decided.get(query, {})))
        return rows

    def _decided(self) -> list[dict[str, Any]]:
        """What the map says about those G that take part."""
        queries = self.queries.tolist()
        others = self.owners_in.clone().fill_diagonal_(0)  # (G, G)
        rows = []
        for place, decision in enumerate(self.panoptic.decisions()):
            lost, rival = (int(value) for value in others[place].max(0))
            row = {**decision._asdict(), "lost": lost, "rival": queries[rival] if lost else None}
            rows.append(row | {"share": decision.owned / decision.area if decision.area else None})
        return rows

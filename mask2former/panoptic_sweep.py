"""The panoptic maps of many thresholds from masks that are resized once.

A higher object threshold takes the queries with the lowest scores away. So the queries are laid on each other from the
highest score down, and the map is copied where a threshold lies between two of them; the owner of a pixel changes only
where the new query has more. The overlap threshold then needs no pixels at all.

Shapes: Q queries, H x W pixels of the result, R rows of a tile, G queries above the lowest threshold.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .accumulators import number_segments, ones_where
from .object_queries import BestClasses


class SweptMap(NamedTuple):
    """The map of one object threshold before segments are numbered.

    Attributes:
        owners: (H, W) int16: 1 + place of the pixel's owner among the G queries, 0 where that's mask lacks the pixel.
        labels: of the queries; owned, inside, areas: see `number_segments`.
        thing_ids: classes of which every query is a segment of its own.
    """

    owners: Tensor
    labels: list[int]
    owned: list[int]
    inside: list[int]
    areas: list[int]
    thing_ids: Sequence[int]

    def segments(self, overlap_threshold: float) -> tuple[list[int], list[dict]]:
        """The segment id of each query, 0 for none, and the segments, as in `PanopticMap`."""
        return number_segments(
            self.labels, self.owned, self.inside, self.areas,
            thing_ids=self.thing_ids, overlap_threshold=overlap_threshold,
        )  # fmt: skip


class PanopticSweep:
    """Stands in for a `PanopticInference`: the result is a `SweptMap` for each object threshold.

    Args:
        object_mask_thresholds: in any order.
    """

    def __init__(self, object_mask_thresholds: Sequence[float]):
        self.object_mask_thresholds = tuple(object_mask_thresholds)

    def start(self, class_probs: Tensor, size: tuple[int, int], thing_ids: Sequence[int]) -> "GrowingSweep":
        """Empty maps of `size` (H, W) for the queries of (Q, K + 1) that take part in any."""
        best = BestClasses.of(class_probs)
        taking_part = {one: best.above(one) for one in self.object_mask_thresholds}
        return GrowingSweep(best, taking_part, size=size, thing_ids=thing_ids)


class GrowingSweep:
    """The maps of one image while they grow.

    Args:
        best: of all Q queries; taking_part: the queries of each threshold.
        size: (H, W) of the result; thing_ids: see `SweptMap`.
    """

    def __init__(
        self, best: BestClasses, taking_part: Mapping[float, Tensor], *, size: tuple[int, int], thing_ids: Sequence[int]
    ):
        self.queries = max(taking_part.values(), key=len)  # (G,); those of the other thresholds are among them
        self.scores, self.labels = best.scores[self.queries], best.labels[self.queries].tolist()
        self.thing_ids = thing_ids
        self.count_of = {threshold: len(queries) for threshold, queries in taking_part.items()}
        device, count = self.queries.device, len(self.queries)
        self.owners = {
            number: torch.zeros(size, dtype=torch.int16, device=device) for number in set(self.count_of.values())
        }
        self.pixels = {number: torch.zeros(2, count, dtype=torch.int64, device=device) for number in self.owners}
        self.areas = torch.zeros(count, dtype=torch.int64, device=device)

    def add(self, start: int, mask_logits: Tensor, mask_probs: Tensor, query_index: Tensor) -> None:
        """Rows from `start` on: (queries, R, W) of which G are its own."""
        count = len(self.queries)
        if count == 0:
            return
        mask_probs = mask_probs.index_select(0, query_index)  # (G, R, W)
        self.areas += ones_where(torch.ge, mask_probs, 0.5).sum(-1).sum(-1, dtype=torch.int64)
        for number, (owner, inside) in enumerate(self._layers(mask_probs), 1):
            if number in self.owners:
                self.owners[number][start : start + len(owner)] = (owner + 1) * inside
                self.pixels[number] += torch.bincount((owner + count * inside).flatten(), minlength=2 * count).view(
                    2, -1
                )

    def _layers(self, mask_probs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """(G, R, W) -> after each query, from the highest score down, the owner (R, W) and whether its mask has it.

        Of equal values the first query wins, as in `index_of_largest`.
        """
        most = torch.full_like(mask_probs[0], -1)  # (R, W)
        owner, inside = torch.zeros_like(most, dtype=torch.int64), torch.zeros_like(most, dtype=torch.bool)
        for query in self.scores.argsort(descending=True, stable=True).tolist():
            value = mask_probs[query] * self.scores[query]  # (R, W)
            wins = (value > most) | ((value == most) & (query < owner))
            most = torch.where(wins, value, most)
            owner = torch.where(wins, query, owner)
            inside = torch.where(wins, mask_probs[query] >= 0.5, inside)
            yield owner, inside

    def result(self) -> dict[float, SweptMap]:
        """The map of each threshold; those of thresholds with the same queries are one object."""
        maps = {number: self._swept(number) for number in self.owners}
        return {threshold: maps[number] for threshold, number in self.count_of.items()}

    def _swept(self, number: int) -> SweptMap:
        outside, inside = self.pixels[number].tolist()
        owned = [a + b for a, b in zip(outside, inside)]
        return SweptMap(self.owners[number], self.labels, owned, inside, self.areas.tolist(), self.thing_ids)

"""From class and mask logits of the queries to semantic, panoptic and instance results (arXiv:2112.01527).

The rules are those of the published code, with three differences: instances have real boxes, results that take too
much memory come in a smaller form, and maps of Q x H x W numbers are never made: all results grow together, a few
rows at a time.

Shapes: Q queries, K classes, H x W pixels of the result, R rows of a tile.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from focalnet_d2.modeling.base import Task

from .accumulators import InstanceList, PanopticMap, SemanticMap
from .object_queries import BestClasses
from .panoptic_sweep import PanopticSweep
from .panoptic_trace import TracedPanoptic
from .tiled_resize import MaskGrid

_TILE_BYTES = 2**27  # of the maps of a tile, roughly; a tile has at least one row
_MAPS_OF_A_TILE = 8  # logits, probabilities, class scores and what is made of them on the way


class SemanticInference:
    """Class scores of every pixel: sum over queries of class probability times mask probability.

    Args:
        dense_bytes: scores that take more are returned as the (H, W) best classes; 0: always.
    """

    def __init__(self, *, dense_bytes: int = 2**30):
        self.dense_bytes = dense_bytes

    def start(self, class_probs: Tensor, size: tuple[int, int]) -> SemanticMap:
        """An empty map of `size` (H, W) for (Q, K + 1)."""
        size_bytes = (class_probs.shape[1] - 1) * math.prod(size) * class_probs.element_size()
        return SemanticMap(class_probs[:, :-1], size=size, dense=size_bytes <= self.dense_bytes)


class PanopticInference:
    """One segment or none for every pixel.

    Args:
        object_mask_threshold: queries take part whose best class has a higher probability than this.
        overlap_threshold: a segment is kept when it owns at least this share of its query's mask.
    """

    def __init__(self, *, object_mask_threshold: float = 0.8, overlap_threshold: float = 0.8):
        self.object_mask_threshold = object_mask_threshold
        self.overlap_threshold = overlap_threshold

    def start(self, class_probs: Tensor, size: tuple[int, int], thing_ids: Sequence[int]) -> PanopticMap:
        """An empty map of `size` (H, W) for the queries of (Q, K + 1) that take part."""
        best = BestClasses.of(class_probs)
        queries = best.above(self.object_mask_threshold)  # (G,)
        return PanopticMap(
            queries, scores=best.scores[queries], labels=best.labels[queries].tolist(),
            size=size, thing_ids=thing_ids, overlap_threshold=self.overlap_threshold,
        )  # fmt: skip

    def sweep(self, object_mask_thresholds: Sequence[float]) -> PanopticSweep:
        """What makes the maps of many thresholds in place of this one's."""
        return PanopticSweep(object_mask_thresholds)

    def traced(self) -> TracedPanoptic:
        """The same, keeping what becomes of every query."""
        return TracedPanoptic(self)


class InstanceInference:
    """The best pairs of query and class.

    Args:
        top_k: pairs an image.
        dense_bytes: masks that take more, at a byte a pixel, are returned as `PackedMasks`; 0: always.
    """

    def __init__(self, *, top_k: int = 100, dense_bytes: int = 2**29):
        self.top_k = top_k
        self.dense_bytes = dense_bytes

    def check(self, num_queries: int, num_classes: int) -> None:
        """Raises ValueError when more instances are wanted than there are pairs."""
        if self.top_k > num_queries * num_classes:
            raise ValueError(
                f"top_k {self.top_k} of the instance inference is more than {num_queries} queries times {num_classes} "
                "classes: raise the decoder's num_queries or lower top_k."
            )

    def start(self, class_probs: Tensor, size: tuple[int, int], only: Sequence[int] | None) -> InstanceList:
        """The best pairs of (Q, K + 1), without masks as yet, those of largest class probability first.

        Args:
            size: (H, W) of the masks.
            only: classes that stay when the best are chosen; None: all.
        """
        num_classes = class_probs.shape[1] - 1
        self.check(len(class_probs), num_classes)
        scores, pairs = class_probs[:, :-1].flatten().topk(self.top_k)  # (top_k,), (top_k,)
        if only is not None:
            stays = torch.isin(pairs % num_classes, pairs.new_tensor(only))
            scores, pairs = scores[stays], pairs[stays]  # (N,), (N,)
        return InstanceList(
            pairs // num_classes, classes=pairs % num_classes, class_scores=scores,
            size=size, dense=len(pairs) * math.prod(size) <= self.dense_bytes,
        )  # fmt: skip


class SegmentationInference:
    """All results of an image that are switched on, by giving them their settings.

    Args:
        thing_ids: contiguous ids of the countable classes.
        semantic, panoptic, instance: None is off. With `panoptic` on, instances are things only.

    Raises:
        ValueError: nothing is switched on.
    """

    def __init__(
        self,
        *,
        thing_ids: Sequence[int] = (),
        semantic: SemanticInference | None = None,
        panoptic: PanopticInference | None = None,
        instance: InstanceInference | None = None,
    ):
        if semantic is None and panoptic is None and instance is None:
            raise ValueError("Nothing to infer: give at least one of semantic, panoptic, instance.")
        self.thing_ids = tuple(thing_ids)
        self.semantic = semantic
        self.panoptic = panoptic
        self.instance = instance

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What is switched on, as `ImageModel.tasks`."""
        switches: list[tuple[object, tuple[Task, ...]]] = [
            (self.panoptic, ("panoptic",)),
            (self.semantic, ("sem_seg",)),
            (self.instance, ("segm", "bbox")),
        ]
        return tuple(task for setting, tasks in switches if setting is not None for task in tasks)

    def settings(self) -> dict[str, Any]:
        """The settings as plain values, for exported models."""
        found: dict[str, Any] = {"tasks": list(self.tasks), "thing_ids": list(self.thing_ids)}
        if self.panoptic is not None:
            found["object_mask_threshold"] = self.panoptic.object_mask_threshold
            found["overlap_threshold"] = self.panoptic.overlap_threshold
        if self.instance is not None:
            found["top_k"] = self.instance.top_k
        return found

    def check(self, num_queries: int, num_classes: int) -> None:
        """Raises ValueError when the settings want more than so many queries and classes can give."""
        if self.instance is not None:
            self.instance.check(num_queries, num_classes)

    @torch.no_grad()
    def __call__(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        *,
        padded_size: Sequence[int],
        image_size: Sequence[int],
        output_size: Sequence[int],
    ) -> dict[str, Any]:
        """Results of one image; numbers are float32, or float64 where the mask logits are.

        Args:
            class_logits: (Q, K + 1), no object last; mask_logits: (Q, h, w).
            padded_size: (H, W) of the network's input, which the mask logits cover.
            image_size: the image's (h, w) in it.
            output_size: (height, width) of the results.

        Returns:
            Of these what is switched on: `sem_seg` (K, H, W) scores, or (H, W) int16 classes where scores take too
            much; `panoptic_seg`: (H, W) int32 segment ids, 0 for none, and the list of segments with "id",
            "isthing", "category_id", "score"; `instances` with `pred_masks` (N, H, W) bool or `PackedMasks`,
            `pred_boxes` XYXY pixels (x2, y2 are the last pixel + 1), `scores`, `pred_classes`. An empty mask has score
            0 and the box 0, 0, 0, 0.
        """
        with torch.autocast(mask_logits.device.type, enabled=False):
            mask_logits = mask_logits.to(torch.promote_types(mask_logits.dtype, torch.float32))
            class_probs = class_logits.to(mask_logits.dtype).softmax(-1)
            grid = MaskGrid(mask_logits, padded_size=padded_size, image_size=image_size, output_size=output_size)
            results = self._start(class_probs, grid.output_size)
            row_bytes = max(class_logits.shape) * grid.widest * mask_logits.element_size()  # of one map of a tile
            if list(results) == ["sem_seg"] and grid.image_size != grid.output_size:
                self._fill_by_class(cast(SemanticMap, results["sem_seg"]), mask_logits, grid, row_bytes)
            else:
                self._fill(list(results.values()), mask_logits, grid, row_bytes)
            return {name: result.result() for name, result in results.items()}

    def _start(self, class_probs: Tensor, size: tuple[int, int]) -> dict[str, SemanticMap | PanopticMap | InstanceList]:
        """Empty results, named as the model returns them."""
        results = {}
        if self.semantic is not None:
            results["sem_seg"] = self.semantic.start(class_probs, size)
        if self.panoptic is not None:
            results["panoptic_seg"] = self.panoptic.start(class_probs, size, self.thing_ids)
        if self.instance is not None:
            only = None if self.panoptic is None else self.thing_ids
            results["instances"] = self.instance.start(class_probs, size, only)
        return results

    def _fill(self, results: Sequence[Any], mask_logits: Tensor, grid: MaskGrid, row_bytes: int) -> None:
        """Masks are resized, and everything is made of them at the size of the result."""
        queries = torch.cat([result.queries for result in results]).unique()  # those that any result is made of
        chosen = [torch.searchsorted(queries, result.queries) for result in results]  # their places in `queries`
        if len(queries) < len(mask_logits):  # a copy of all of them may take a gigabyte
            mask_logits = mask_logits[queries]
        for start, stop in _tiles(row_bytes, grid.output_size[0]):
            logits = grid.output_rows(mask_logits, start, stop)  # (queries, R, W)
            probs = logits.sigmoid()  # (queries, R, W)
            for result, own in zip(results, chosen):
                result.add(start, logits, probs, own)

    def _fill_by_class(self, semantic: SemanticMap, mask_logits: Tensor, grid: MaskGrid, row_bytes: int) -> None:
        """Class scores are computed at the resolution of the network, and these are resized."""
        shrinkage = -(-grid.image_size[0] // grid.output_size[0])  # rows that one row of the result is made of
        for start, stop in _tiles(row_bytes * shrinkage, grid.output_size[0]):
            probs = grid.network_rows(mask_logits, start, stop).sigmoid()  # (Q, R', w)
            scores = semantic.class_scores(probs)  # (K, R', w)
            semantic.add_scores(start, grid.finish_rows(scores, start, stop))


def _tiles(row_bytes: int, height: int) -> Iterator[tuple[int, int]]:
    """First row and end of each tile."""
    rows = max(1, _TILE_BYTES // (_MAPS_OF_A_TILE * row_bytes))
    return ((start, min(start + rows, height)) for start in range(0, height, rows))

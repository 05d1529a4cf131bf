"""What a planned training step assumes where predictions have no values."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch import distributed as dist

from focalnet_d2.modeling.rcnn.proposal_sampling import MaxIoUMatcher
from focalnet_d2.set_prediction.matcher import HungarianAssignment, Pairs

from .known_values import KnownValues

POSITIVE = 4  # every fourth proposal overlaps an object, as those of a trained detector do


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process is the only one of the run, so that no tensor without values is sent to others."""
    is_initialized = dist.is_initialized
    dist.is_initialized = lambda: False  # which Detectron2's count of processes asks
    try:
        yield
    finally:
        dist.is_initialized = is_initialized


@contextmanager
def assumed_matches(values: KnownValues | None = None) -> Iterator[None]:
    """Matching that looks at no value, inside: as much is matched as with a trained model.

    Queries are matched in their order. Every fourth proposal of an R-CNN is positive and the others are background, so
    that a full number of both is sampled; a detector that learns its first boxes has fewer.

    Args:
        values: matches whose overlaps are known there are made from them; without it, all are assumed.
    """
    assign, match = HungarianAssignment.assign, MaxIoUMatcher.__call__

    def match_some(self: MaxIoUMatcher, iou: Tensor) -> tuple[Tensor, Tensor]:
        if values is not None and values.value(iou) is not None:
            return match(self, iou)
        order = torch.arange(iou.shape[1])
        return torch.zeros_like(order), (order % POSITIVE == 0).long()

    HungarianAssignment.assign = _in_order  # type: ignore[method-assign]
    MaxIoUMatcher.__call__ = match_some  # type: ignore[method-assign]
    try:
        yield
    finally:
        HungarianAssignment.assign = assign  # type: ignore[method-assign]
        MaxIoUMatcher.__call__ = match  # type: ignore[method-assign]


def _in_order(self: HungarianAssignment, cost: Tensor) -> Pairs:
    order = torch.arange(min(cost.shape))
    return order, order

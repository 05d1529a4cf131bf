"""Gradient accumulation: a batch is cut into parts whose losses add up to the loss of the whole batch.

With `ModelTotals`, the default, our models divide the losses of a part by the numbers of all parts
(`ImageModel.note_totals`). Otherwise the losses of a part get a factor.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn

from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.utils.step_totals import StepTotals

from .precision import autocast
from .rng import preserved_rng

MicrobatchWeights = Callable[[Sequence[Sequence[dict]]], list[float]]


def split_batch(batch: Sequence[dict], parts: int) -> list[list[dict]]:
    """Cut a batch into `parts` equal pieces, in order.

    Raises:
        ValueError: the batch of this process cannot be divided by `parts`.
    """
    if parts < 1 or len(batch) % parts:
        raise ValueError(
            f"train.accumulation={parts} must divide the {len(batch)} images that each process gets in a step "
            f"(dataloader.train.total_batch_size / processes)."
        )
    size = len(batch) // parts
    return [list(batch[start : start + size]) for start in range(0, len(batch), size)]


class Accumulation:
    """Makes the losses of a batch's parts add up to those of the batch.

    Args:
        network: the model, without what wraps it for several processes.
        parts: number of parts of a batch.
        weights: factors of the parts' losses; the model is told of the other parts with `ModelTotals` alone.
        device, amp_dtype: of the training's passes.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        parts: int,
        weights: MicrobatchWeights,
        device: torch.device,
        amp_dtype: torch.dtype | None,
    ) -> None:
        self.network, self.parts, self.device, self.amp_dtype = network, parts, device, amp_dtype
        self.weights = weights
        self.has_totals = isinstance(weights, ModelTotals) and parts > 1 and hasattr(network, "note_totals")

    @contextmanager
    def step(self, batch: Sequence[dict]) -> Iterator[list[tuple[list[dict], float]]]:
        """The parts of a batch with the factor of each one's losses; they go through the model inside.

        Raises:
            ValueError: the batch of this process cannot be divided, or holds what the model cannot take.
        """
        parts = split_batch(batch, self.parts)
        if not self.has_totals:
            yield list(zip(parts, self.weights(parts)))
            return
        totals = StepTotals()
        with without_trace(self.network), autocast(self.device, self.amp_dtype), fast_cpu_matmul(self.device):
            cast(Any, self.network).note_totals(parts, totals)
        with totals.in_force():
            yield [(part, 1.0) for part in parts]


@contextmanager
def without_trace(network: nn.Module) -> Iterator[None]:
    """Passes through the model inside leave no gradient, logged number, changed buffer or drawn random number."""
    before = [(buffer, buffer.clone()) for buffer in network.buffers()]
    with torch.no_grad(), preserved_rng(), EventStorage():
        yield
    with torch.no_grad():
        for buffer, value in before:
            buffer.copy_(value)


class EqualWeights:
    """For losses that are means over images or over a fixed number of samples per image."""

    def __call__(self, parts: Sequence[Sequence[dict]]) -> list[float]:
        """Share of each part in the loss of the batch; the shares add up to 1."""
        return [1 / len(parts)] * len(parts)


class ModelTotals(EqualWeights):
    """For our models, which know all parts' numbers and need no factors; parts of other models count the same."""


class ObjectWeights:
    """For losses that are sums over the batch divided by its number of objects, at least 1 (DINO, Mask2Former)."""

    def __call__(self, parts: Sequence[Sequence[dict]]) -> list[float]:
        """Factor that turns the loss of each part, divided by its own objects, into its share of the batch's loss."""
        own = [sum(len(sample["instances"]) for sample in part) for part in parts]
        ranks = comm.all_gather(own)
        counts = [sum(column) / len(ranks) for column in zip(*ranks)]  # the criterion takes the mean over ranks
        total = max(sum(counts), 1.0)
        return [max(count, 1.0) / total for count in counts]

"""Gradient accumulation: a batch is cut into parts whose weighted losses add up to the loss of the whole batch."""

from collections.abc import Sequence

from detectron2.utils import comm


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


class EqualWeights:
    """For losses that are means over images or over a fixed number of samples per image."""

    def __call__(self, parts: Sequence[Sequence[dict]]) -> list[float]:
        """Share of each part in the loss of the batch; the shares add up to 1."""
        return [1 / len(parts)] * len(parts)


class ObjectWeights:
    """For losses that are sums over the batch divided by its number of objects, at least 1 (DINO, Mask2Former)."""

    def __call__(self, parts: Sequence[Sequence[dict]]) -> list[float]:
        """Factor that turns the loss of each part, divided by its own objects, into its share of the batch's loss."""
        own = [sum(len(sample["instances"]) for sample in part) for part in parts]
        ranks = comm.all_gather(own)
        counts = [sum(column) / len(ranks) for column in zip(*ranks)]  # the criterion takes the mean over ranks
        total = max(sum(counts), 1.0)
        return [max(count, 1.0) / total for count in counts]

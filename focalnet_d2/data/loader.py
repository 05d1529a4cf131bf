"""Loaders whose stream of samples depends on the seed and the position only.

Position p of the training stream fixes the image and its augmentation. Iteration i of rank r takes the
positions i * total + r * local ... + local - 1. So a run continued at any iteration, on any number of ranks
and with any number of workers, sees what the uninterrupted one would have seen.

A worker process has one thread, loads two batches ahead (both are PyTorch's defaults) and shares the dataset dicts
with all others of the machine. Where there is a GPU, images arrive in pinned memory.
"""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

from focalnet_d2.utils.child_processes import leave_signals_to_parent

from .albumentations_adapter import Albumentations
from .class_presence import repeat_factors
from .copy_paste import CopyPaste
from .record_choice import first_without_mask
from .shared_memory_dataset import SharedMemoryDataset

Mapper = Callable[[dict], dict]

_PASTING = 1  # beside seed and position, for the random numbers of copy-paste

logger = logging.getLogger(__name__)


def build_train_loader(
    dataset: Sequence[dict] | SharedMemoryDataset,
    *,
    mapper: Mapper,
    total_batch_size: int,
    num_workers: int = 2,
    seed: int = 0,
    start_iteration: int = 0,
    repeat_threshold: float = 0.0,
    albumentations: str | dict[str, Any] | None = None,
    copy_paste: float = 0.0,
) -> DataLoader:
    """An endless loader of this rank's batches, each a list of mapped dicts.

    Args:
        dataset: dataset dicts; every epoch visits each once, in a new order. Epochs follow each other without
            a gap, so one batch may hold the end of one and the beginning of the next.
        mapper: called in the workers; must be picklable.
        total_batch_size: samples of one iteration on all ranks together.
        num_workers: worker processes of this rank; 0 = load in this process.
        seed: seed of order and augmentation, the same on all ranks.
        start_iteration: iterations already done.
        repeat_threshold: images that show a class that is in a smaller share of them come more often, and others less
            often in turn (see `repeat_factors`); an epoch has as many images as before. 0: all come alike.
        albumentations: a pipeline that images go through before the augmentations of the mapper: the file that
            albumentations' `save` wrote, or what its `to_dict` gives (see `Albumentations`).
        copy_paste: probability that objects of another image are pasted into an image (see `CopyPaste`).

    Raises:
        ValueError: no images, a batch that cannot be shared equally among the ranks, no such threshold or probability,
            a pipeline that cannot be used, or objects without masks that are to be pasted.
        ImportError, FileNotFoundError: as `Albumentations`.
    """
    if len(dataset) == 0:
        raise ValueError("The training data set has no images.")
    if albumentations:
        mapper = _augmented_first(mapper, Albumentations(albumentations))
    factors = _factors(dataset, repeat_threshold)
    stream = SampleStream(
        len(dataset),
        total_batch_size=total_batch_size,
        seed=seed,
        start_iteration=start_iteration,
        factors=factors,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )
    pasting = None
    if copy_paste != 0:
        check_masks_to_paste(dataset)
        pasting = CopyPaste(mapper, copy_paste, factors)
    return DataLoader(
        SeededDataset(_in_shared_memory(dataset), mapper, seed, pasting),
        batch_sampler=stream,
        num_workers=num_workers,
        worker_init_fn=leave_signals_to_parent,
        collate_fn=keep_list,
        pin_memory=torch.cuda.is_available(),
        generator=_own_generator(seed),
    )


def build_test_loader(
    dataset: Sequence[dict] | SharedMemoryDataset, *, mapper: Mapper, num_workers: int = 2, batch_size: int = 1
) -> DataLoader:
    """A loader that visits this rank's share of the images once, in order.

    The shares differ by at most one image and no image is repeated, so scores need no correction; a rank may
    get none.

    Args:
        batch_size: images per batch of this rank; the last batch may be smaller.

    Raises:
        ValueError: no images.
    """
    if len(dataset) == 0:
        raise ValueError("The test data set has no images.")
    share = rank_share(len(dataset), comm.get_rank(), comm.get_world_size())
    return DataLoader(
        MappedDataset(_in_shared_memory(dataset), mapper),
        batch_size=batch_size,
        sampler=_InOrder(share),
        num_workers=num_workers,
        worker_init_fn=leave_signals_to_parent,
        collate_fn=keep_list,
        pin_memory=torch.cuda.is_available(),
        generator=_own_generator(0),
    )


def _augmented_first(mapper: Mapper, augmentation: Albumentations) -> Mapper:
    if not hasattr(mapper, "augmented_first"):
        raise ValueError(
            "dataloader.train.albumentations is for the mappers of focalnet_d2.data.mappers, and "
            f"{type(mapper).__name__} is none: put the pipeline into your own mapper."
        )
    return mapper.augmented_first(augmentation)


def check_masks_to_paste(dataset: Sequence[dict] | SharedMemoryDataset) -> None:
    """Raises ValueError where an object that `copy_paste` could paste has no mask."""
    if (record := first_without_mask(dataset)) is not None:
        raise ValueError(
            f"dataloader.train.copy_paste pastes objects with their masks, and {record['file_name']} has objects with "
            "a box alone: leave it off, or train on data with masks."
        )


def _factors(dataset: Sequence[dict] | SharedMemoryDataset, threshold: float) -> np.ndarray | None:
    """(N,) repeat factors; None where all images come alike."""
    if threshold == 0:
        return None
    factors = repeat_factors((dataset[index] for index in range(len(dataset))), threshold)
    logger.info(
        "Images with rare classes come more often: %d of %d, up to %.3g times as often as others.",
        *(int((factors > 1).sum()), len(factors), factors.max()),
    )
    return factors


def _in_shared_memory(dataset: Sequence[dict] | SharedMemoryDataset) -> SharedMemoryDataset:
    return dataset if isinstance(dataset, SharedMemoryDataset) else SharedMemoryDataset(dataset)


def rank_share(size: int, rank: int, world_size: int) -> range:
    """The consecutive images of one rank; the first ranks get one more where it does not divide."""
    share, extra = divmod(size, world_size)
    first = rank * share + min(rank, extra)
    return range(first, first + share + (rank < extra))


class SampleStream(Sampler):
    """Endless batches of (position, image index) of one rank.

    Args:
        size: images of the data set.
        total_batch_size: samples of one iteration on all ranks together.
        start_iteration: first iteration to give.
        factors: (N,) how often each image comes, in relation to others; None: each comes once in an epoch.
        rank, world_size: this process among how many.

    Raises:
        ValueError: total_batch_size is not a positive multiple of world_size.
    """

    def __init__(
        self,
        size: int,
        *,
        total_batch_size: int,
        seed: int,
        start_iteration: int = 0,
        factors: np.ndarray | None = None,
        rank: int = 0,
        world_size: int = 1,
    ):
        if total_batch_size < 1 or total_batch_size % world_size:
            raise ValueError(
                f"total_batch_size={total_batch_size} must be a positive multiple of the number of "
                f"processes, {world_size}."
            )
        self.size, self.seed, self.start_iteration = size, seed, start_iteration
        self.total_batch_size = total_batch_size
        self.local_batch_size = total_batch_size // world_size
        self.rank = rank
        self.factors = factors

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        first = self.start_iteration * self.total_batch_size + self.rank * self.local_batch_size
        epoch, order = -1, np.empty(0, np.int64)
        while True:
            batch = []
            for position in range(first, first + self.local_batch_size):
                if position // self.size != epoch:
                    epoch = position // self.size
                    order = epoch_order(self.size, self.seed, epoch, self.factors)
                batch.append((position, int(order[position % self.size])))
            yield batch
            first += self.total_batch_size


def epoch_order(size: int, seed: int, epoch: int, factors: np.ndarray | None = None) -> np.ndarray:
    """(size,) image indices of one epoch, which depend on seed, epoch and factors only.

    Without factors it is a permutation. With (size,) factors, image i stands in it size * factors[i] / sum(factors)
    times, rounded down or up so that the mean over epochs is this number (systematic sampling).
    """
    bits = np.random.MT19937(np.random.SeedSequence([seed, epoch]))
    random_state = np.random.RandomState(bits)  # numpy froze its streams
    order = random_state.permutation(size)
    if factors is None:
        return order
    ends = np.cumsum(factors[order] * (size / factors.sum()))  # how many are chosen up to each image of the order
    places = np.arange(size) + random_state.random_sample()
    chosen = np.searchsorted(ends, places, side="right").clip(max=size - 1)
    return random_state.permutation(order[chosen])


class MappedDataset(Dataset):
    """dataset[i] through the mapper."""

    def __init__(self, dataset: Dataset, mapper: Mapper):
        self.dataset, self.mapper = dataset, mapper

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        return self.mapper(self.dataset[index])


class SeededDataset(MappedDataset):
    """dataset[index] through the mapper, every generator seeded by (seed, position).

    Args:
        pasting: pastes objects of other images; an image is what it is without, below what is pasted.
    """

    def __init__(self, dataset: Dataset, mapper: Mapper, seed: int, pasting: CopyPaste | None = None):
        super().__init__(dataset, mapper)
        self.seed, self.pasting = seed, pasting

    def __getitem__(self, position_and_index: tuple[int, int]) -> dict:
        position, index = position_and_index
        if self.pasting is not None:
            with seeded(self.seed, position, _PASTING):
                source = self.pasting.draw_source(len(self))
                objects = None if source is None else self.pasting.draw_objects(self.dataset[source])
            if objects is not None and objects[2]:
                with seeded(self.seed, position):
                    return self.pasting.paste(self.dataset[index], objects)
        with seeded(self.seed, position):
            return super().__getitem__(index)


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seeds Python's, numpy's and torch's CPU generators by the key; afterwards they go on as before."""
    for_python, for_numpy, for_torch = np.random.SeedSequence(key).generate_state(3).tolist()
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(for_python)
    np.random.seed(for_numpy)
    torch.default_generator.manual_seed(for_torch)  # torch.manual_seed would also reseed the GPU
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


class _InOrder(Sampler):
    def __init__(self, indices: range):
        self.indices = indices

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def _own_generator(seed: int) -> torch.Generator:
    """Keeps a new iterator from drawing its workers' seeds out of the training's generator."""
    return torch.Generator().manual_seed(seed)


def keep_list(batch: list[dict]) -> list[dict]:
    """Images differ in size, so a batch stays a list."""
    return batch

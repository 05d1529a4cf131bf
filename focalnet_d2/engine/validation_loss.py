"""The losses of a run on its test data, without a trace in the training.

The images go through the test recipe's resizing and the training's mapper, which makes targets, and the model computes
the losses of training without gradient: what is random in it (denoising queries, sampled points and regions) is drawn
anew for each batch from the position of its images, dropout and dropped paths are off, and batch norms take their
running statistics. So the numbers of two evaluations differ by the weights alone, and on any number of processes they
are the means over the same images.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn
from torchvision.ops import StochasticDepth

from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.data.loader import rank_share
from focalnet_d2.data.shared_memory_dataset import SharedMemoryDataset
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.utils.one_process import alone

from .accumulation import without_trace
from .device import resolve_amp
from .distributed import all_gather_object
from .evaluation_loop import evaluation_mode
from .precision import autocast
from .progress_bar import progress_bar
from .rng import preserved_rng
from .stopping import Stoppable

# What a mapper does to its images at random in training, and to all of them alike in evaluation.
CHANGES_OF_IMAGES = ("augmentations", "transform")
# Modules that in training draw random numbers or take the statistics of a batch.
REGULARIZING = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm, StochasticDepth)

logger = logging.getLogger(__name__)


class ValidationLoss:
    """Computes the losses on the test data of a recipe, again and again; all ranks have to make and call it together.

    Args:
        recipe: of the run, as it trains.
        dataset: dataset dicts of the test data, with their ground truth.

    Raises:
        RecipeError: the mapper of the training cannot do without its augmentations.
    """

    def __init__(self, recipe: DictConfig, dataset: SharedMemoryDataset):
        self.recipe = recipe
        with preserved_rng():
            self.mapper = build_mapper(recipe)
            self.images = _some_of(dataset, recipe.train.get("validation_loss_images", 0))
            self.mapper(self.images[0])  # a mistake shows here, and not at the first evaluation

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Mean over the images of each loss, and of `total_loss`, their sum; on all ranks.

        Args:
            model: without a distributed wrapper, with whole weights, on its device; afterwards as it was.

        Raises:
            RunStopped: a signal asked for it.
        """
        sums: dict[str, float] = defaultdict(float)
        with without_trace(model), losses_mode(model), alone():
            for count, losses in self._batches(model):
                for name, loss in losses.items():
                    sums[name] += count * loss
        ranks = all_gather_object(dict(sums))
        names = sorted({name for rank in ranks for name in rank})
        means = {name: sum(rank.get(name, 0.0) for rank in ranks) / len(self.images) for name in names}
        total = sum(means.values())
        logger.info("Loss on %d test images: %.4g", len(self.images), total)
        return {"total_loss": total, **means}

    def _batches(self, model: nn.Module) -> Iterator[tuple[int, dict[str, float]]]:
        """Images and losses of each batch of this rank."""
        loader = build(self.recipe.dataloader.test, "dataloader.test", dataset=self.images, mapper=self.mapper)
        position = rank_share(len(self.images), comm.get_rank(), comm.get_world_size()).start
        device = next(model.parameters()).device
        amp_dtype = resolve_amp(self.recipe.train.amp, device, training=True)
        with progress_bar(len(loader), desc="validation loss", unit=" batches", leave=False) as bar:
            for batch in Stoppable(loader, "the losses on the test data"):
                _seed(self.recipe.train.seed, position)
                with autocast(device, amp_dtype), fast_cpu_matmul(device):
                    losses = model(batch)
                yield len(batch), {name: float(loss) for name, loss in losses.items()}
                position += len(batch)
                bar.update()


def build_mapper(recipe: DictConfig) -> Any:
    """The mapper of the training data with the changes of images of the test data.

    Raises:
        RecipeError: it has none that could be exchanged.
    """
    changed = recipe.copy()
    train, test = changed.dataloader.train.mapper, changed.dataloader.test.mapper
    exchanged = [name for name in CHANGES_OF_IMAGES if name in train and name in test]
    if not exchanged:
        raise RecipeError(
            "train.validation_loss=True takes the augmentations of dataloader.test.mapper in place of those of "
            f"dataloader.train.mapper, which both must have as {' or '.join(CHANGES_OF_IMAGES)}: leave it off."
        )
    for name in exchanged:
        train[name] = test[name]
    return build(train, "dataloader.train.mapper")


@contextmanager
def losses_mode(model: nn.Module) -> Iterator[None]:
    """The model computes losses inside, without dropout, dropped paths and statistics of a batch; then as before."""
    attentions = [module for module in model.modules() if isinstance(module, nn.MultiheadAttention)]
    rates = [attention.dropout for attention in attentions]  # a number, and no module that could be switched off
    with evaluation_mode(model):
        for module in model.modules():
            module.training = not isinstance(module, REGULARIZING)
        for attention in attentions:
            attention.dropout = 0.0
        try:
            yield
        finally:
            for attention, rate in zip(attentions, rates):
                attention.dropout = rate


def _some_of(dataset: SharedMemoryDataset, most: int) -> SharedMemoryDataset:
    """At most so many images, from all over the data set; 0 = all."""
    if not 0 < most < len(dataset):
        return dataset
    return SharedMemoryDataset([dataset[place] for place in evenly(len(dataset), most)])


def evenly(size: int, most: int) -> list[int]:
    """At most so many of the places 0 to size - 1, rising, from all over them."""
    return np.linspace(0, size - 1, min(size, most)).round().astype(int).tolist()


def _seed(*key: int) -> None:
    """Seed all generators of this process; `preserved_rng` puts them back."""
    number = int(np.random.SeedSequence(key).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)

"""Which settings of a recipe fit its training step into a given memory."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.config.memory_size import BATCH
from focalnet_d2.config.nodes import children, containers, raw_value
from focalnet_d2.config.settings import known_target

from .example_batch import largest_batch
from .training_step import StepMemory, step_memory

SWITCH = "use_checkpoint"


@dataclass(frozen=True)
class Way:
    """A way to run the recipe's step.

    Attributes:
        overrides: what it changes, beside the accumulation.
        accumulation: parts in which the batch of a process goes through the model.
        images: of each part.
        peak: bytes of everything that is alive at once.
        fits: whether that is within the budget.
        memory: of the step, where it was run; otherwise the peak follows from that of one image.
    """

    overrides: tuple[str, ...]
    accumulation: int
    images: int
    peak: int
    fits: bool
    memory: StepMemory | None

    @property
    def settings(self) -> list[str]:
        """Everything to type for it."""
        return [f"train.accumulation={self.accumulation}", *self.overrides]


def ways_to_fit(
    recipe: DictConfig,
    budget: int,
    *,
    processes: int = 1,
    objects: int = 20,
    records: Sequence[dict] | None = None,
    lower_precision: bool = True,
) -> Iterator[Way]:
    """Try the recipe as it is, then more parts of its batch, then recomputed activations, then bf16, until one fits.

    All but bf16, which rounds differently, train what the recipe trains.

    Args:
        budget: bytes.
        processes: that share the batch.
        objects, records: of the images, see `largest_batch`.
        lower_precision: whether bf16 is tried.

    Yields:
        What was tried, the recipe as it is first; the last one fits if any does.

    Raises:
        RecipeError: the batch cannot be divided among the processes, or into the recipe's parts.
    """
    batch, parts = recipe.dataloader.train.total_batch_size, recipe.train.accumulation
    if batch % (processes * parts):
        raise RecipeError(
            f"{BATCH}={batch} cannot be divided among {processes} processes with train.accumulation={parts}."
        )
    share = batch // processes
    search = _Search(recipe, budget, share, largest_batch(recipe, share, objects, records))
    for number, overrides in enumerate(_variants(recipe, lower_precision)):
        smallest = search.smallest(overrides)
        if number == 0:
            as_it_is = search.measured(overrides, share // parts, smallest)
            yield as_it_is
            if as_it_is.fits:
                return
        if smallest.fits:
            yield search.with_fewest_parts(smallest)
            return
        yield smallest


@dataclass(frozen=True)
class _Search:
    """What all ways have in common: the recipe, bytes, images of a process, and samples as large as they get."""

    recipe: DictConfig
    budget: int
    share: int
    samples: list[dict]

    def smallest(self, overrides: Sequence[str]) -> Way:
        """A step with as few images at once as the model takes: one, or two that it mixes or takes statistics of."""
        for images in (number for number in range(1, self.share) if self.share % number == 0):
            with suppress(ValueError):  # of the model
                return self.measured(overrides, images)
        return self.measured(overrides, self.share)

    def measured(self, overrides: Sequence[str], images: int, smallest: Way | None = None) -> Way:
        """A step with so many images at once, which is not run where the smallest shows that it is far too much.

        A step of two images may hold one that is tall beside one that is wide, and then takes more than two of one.
        """
        if smallest is not None and smallest.memory is not None:
            if images == smallest.images:
                return smallest
            least = smallest.peak + (images / smallest.images - 1) * smallest.memory.activations
            if least > self.budget:
                return Way(tuple(overrides), self.share // images, images, int(least), False, None)
        memory = step_memory(_changed(self.recipe, overrides), self.samples[:images])
        return Way(tuple(overrides), self.share // images, images, memory.peak, memory.peak <= self.budget, memory)

    def with_fewest_parts(self, smallest: Way) -> Way:
        """The way with the largest parts that fits, from one that fits with as few images as can be."""
        for images in (number for number in range(self.share, smallest.images, -1) if self.share % number == 0):
            with suppress(ValueError):  # of a model that takes no odd number
                if (way := self.measured(smallest.overrides, images, smallest)).fits:
                    return way
        return smallest


def _variants(recipe: DictConfig, lower_precision: bool) -> Iterator[tuple[str, ...]]:
    """Settings that need less memory, each more than the one before."""
    recomputing = tuple(f"{key}=True" for key in _switches(recipe))
    yield ()
    if recomputing:
        yield recomputing
    if lower_precision and recipe.train.amp not in ("bf16", "fp16"):
        yield (*recomputing, "train.amp=bf16")


def _switches(recipe: DictConfig) -> list[str]:
    """Keys of the model that turn recomputing on and are off."""
    found = []
    for path, node in containers(recipe.model, "model."):
        target = known_target(node) if isinstance(node, DictConfig) and "_target_" in node else None
        takes = inspect.isclass(target) and SWITCH in inspect.signature(target).parameters
        if takes and not raw_value(dict(children(node)).get(SWITCH, False)):
            found.append(f"{path}{SWITCH}")
    return found


def _changed(recipe: DictConfig, overrides: Sequence[str]) -> DictConfig:
    changed = recipe.copy()
    changed.train.accumulation = 1  # the samples are one part
    for override in overrides:
        key, _, value = override.partition("=")
        OmegaConf.update(changed, key, True if value == "True" else value, force_add=True)
    return changed

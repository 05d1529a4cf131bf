"""Which settings of a recipe fit its training step into a given memory."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.config.nodes import children, containers, raw_value
from focalnet_d2.config.settings import known_target

from .example_batch import largest_batch
from .training_step import StepMemory, step_memory

SWITCH = "use_checkpoint"
BATCH = "dataloader.train.total_batch_size"


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
) -> Iterator[Way]:
    """Try the recipe as it is, then more parts of its batch, then recomputed activations, then bf16, until one fits.

    All but bf16, which rounds differently, train what the recipe trains.

    Args:
        budget: bytes.
        processes: that share the batch.
        objects, records: of the images, see `largest_batch`.

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
    for number, overrides in enumerate(_variants(recipe)):
        single = search.measured(overrides, 1)
        if number == 0:
            as_it_is = search.measured(overrides, share // parts, single)
            yield as_it_is
            if as_it_is.fits:
                return
        if single.fits:
            yield search.with_fewest_parts(single)
            return
        yield single


@dataclass(frozen=True)
class _Search:
    """What all ways have in common: the recipe, bytes, images of a process, and samples as large as they get."""

    recipe: DictConfig
    budget: int
    share: int
    samples: list[dict]

    def measured(self, overrides: Sequence[str], images: int, single: Way | None = None) -> Way:
        """A step with so many images at once, which is not run where that of one image shows that it is far too much.

        A step of two images may hold one that is tall beside one that is wide, and then takes more than two of one.
        """
        if single is not None and single.memory is not None:
            if images == 1:
                return single
            least = single.peak + (images - 1) * single.memory.activations
            if least > self.budget:
                return Way(tuple(overrides), self.share // images, images, least, False, None)
        memory = step_memory(_changed(self.recipe, overrides), self.samples[:images])
        return Way(tuple(overrides), self.share // images, images, memory.peak, memory.peak <= self.budget, memory)

    def with_fewest_parts(self, single: Way) -> Way:
        """The way with the largest parts that fits, from one that fits with a single image in each."""
        for images in (number for number in range(self.share, 1, -1) if self.share % number == 0):
            if (way := self.measured(single.overrides, images, single)).fits:
                return way
        return single


def _variants(recipe: DictConfig) -> Iterator[tuple[str, ...]]:
    """Settings that need less memory, each more than the one before."""
    recomputing = tuple(f"{key}=True" for key in _switches(recipe))
    half = () if recipe.train.amp in ("bf16", "fp16") else ("train.amp=bf16",)
    yield ()
    if recomputing:
        yield recomputing
    if half:
        yield (*recomputing, *half)


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

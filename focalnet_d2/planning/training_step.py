"""The memory of one training step of a recipe, from shapes alone."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig
from torch import Tensor

from focalnet_d2.config.building import build
from focalnet_d2.engine.freezing import freeze
from focalnet_d2.engine.hooks import EMAHook
from focalnet_d2.engine.rng import preserved_rng
from focalnet_d2.engine.run import step_settings
from focalnet_d2.engine.trainer import Trainer
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.kernels.padding import ZERO_PADDING
from focalnet_d2.kernels.recomputing import keeping_everything
from focalnet_d2.utils.garbage_collection import paused_collection
from focalnet_d2.utils.tensors import tensors_in

from .assumptions import alone, assumed_matches
from .known_values import KnownValues
from .live_memory import LiveMemory


@dataclass(frozen=True)
class StepMemory:
    """Bytes of the tensors of a training step.

    Attributes:
        weights: parameters and buffers, and the averaged ones where the recipe keeps them.
        optimizer: state of the optimizer.
        gradients: of the parameters, after the step.
        peak: of everything that is alive at once, images and targets included.
    """

    weights: int
    optimizer: int
    gradients: int
    peak: int

    @property
    def activations(self) -> int:
        """What the peak holds beside weights and state of the optimizer."""
        return self.peak - self.weights - self.optimizer


def step_memory(recipe: DictConfig, batch: Sequence[dict]) -> StepMemory:
    """Run one step of `engine.trainer.Trainer` on tensors without values, and count what is alive.

    Args:
        recipe: model, what of it is frozen, optimizer, averaging, precision, accumulation and clipping are its.
        batch: samples of its mapper; images may be shared.
    """
    fast_cpu_matmul("cpu")  # finds out what is fast, once for the machine, and needs values for it
    with preserved_rng(), _quiet(), paused_collection(), alone(), KnownValues() as values, assumed_matches(values):
        return run_step(recipe, [_without_pixels(sample, values) for sample in batch])


def run_step(recipe: DictConfig, batch: Sequence[dict]) -> StepMemory:
    """The same with whatever tensors there are: on real ones it is what a CPU really allocates.

    What a CPU alone computes again counts as kept, and what it leaves out without padding as made, so that the number
    holds for other devices, too.
    """
    train, device = recipe.train, torch.device("cpu")
    model = build(recipe.model, "model")
    freeze(model, train.get("freeze", ()))
    memory = LiveMemory()
    memory.add(chain(model.parameters(), model.buffers()))
    averaged = EMAHook(model, train.ema.decay) if train.ema.enabled else None
    memory.add([] if averaged is None else averaged.average.values())
    weights = memory.now
    optimizer = build(recipe.optimizer, "optimizer", model=model)
    trainer = Trainer(
        model,
        [list(batch)],
        optimizer,
        device=device,
        clip_norm=train.clip_norm,
        **step_settings(recipe, device),
    )
    trainer.iter = 0
    with memory, keeping_everything(), ZERO_PADDING.only("filled"), EventStorage(0) as trainer.storage:
        memory.add(tensors_in(batch))
        state = _state_of(optimizer, memory)
        memory.reset_peak()
        trainer.run_step()
        gradients = sum(one.grad.untyped_storage().nbytes() for one in model.parameters() if one.grad is not None)
        return StepMemory(weights, state, gradients, memory.peak)


def _state_of(optimizer: torch.optim.Optimizer, memory: LiveMemory) -> int:
    """Bytes of the optimizer's state, which the first step makes."""
    before = memory.now
    for one in chain.from_iterable(group["params"] for group in optimizer.param_groups):
        one.grad = torch.zeros_like(one)
    with _all_parameters_at_once(optimizer):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return memory.now - before


@contextmanager
def _all_parameters_at_once(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Inside, steps of torch's optimizers are a few operations on lists, and take a fraction of the time."""
    groups = [group for group in optimizer.param_groups if "foreach" in group]
    before = [group["foreach"] for group in groups]
    for group in groups:
        group["foreach"] = True
    yield
    for group, value in zip(groups, before):
        group["foreach"] = value


def _without_pixels(sample: dict[str, Any], values: KnownValues) -> dict[str, Any]:
    """A sample whose image has no values, and whose targets have theirs."""
    shown = {name: _known(value, values) for name, value in sample.items()}
    return {**shown, "image": values.unknown(sample["image"])}


def _known(value: Any, values: KnownValues) -> Any:
    if isinstance(value, Tensor):
        return values.known(value)
    if hasattr(value, "get_fields"):
        copied = type(value)(value.image_size)
        for name, field in value.get_fields().items():
            inner = getattr(field, "tensor", None)
            copied.set(name, _known(field, values) if inner is None else type(field)(values.known(inner)))
        return copied
    return value


@contextmanager
def _quiet() -> Iterator[None]:
    """No messages about guessed values inside."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)

"""A step whose losses or gradients are not finite: what is kept of it for `focalnet-d2 replay`.

`nonfinite_<iteration>.pth` holds tensors and plain values only:

| key | content |
| --- | --- |
| iteration, what, terms | of the step; what was not finite, as a sentence and by name |
| is_check | no step, but the forward pass that looks at weights before they are saved |
| model, averaged | weights and buffers before the step; the averaged ones, or None |
| class_weights | of the class losses, see `class_weights.py`; None for none |
| scaler, recipe, metadata | as in a checkpoint |
| device, threads | kind of device, threads of a process |
| ranks | for each process its batch, random state (`rng.py`), losses and file names |
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm
from torch import nn

from focalnet_d2.checkpoint import save_checkpoint

from .checkpointing import RunState
from .distributed import all_gather_object
from .plain_batch import to_plain
from .rng import get_rng_state
from .sharding import full_tensor

FILES = re.compile(r"nonfinite_(\d{7,})\.pth")
KEPT_OF_SKIPPED = 3  # files in the folder of a run that skips steps; one that ends writes another

logger = logging.getLogger(__name__)


class NonFiniteError(FloatingPointError):
    """A loss or a gradient is infinite or not a number; names the terms, the iteration and the files."""


@dataclass(eq=False)
class NonFiniteStep(Exception):  # noqa: N818 - the trainer decides whether it is an error
    """What was not finite, the same on all ranks.

    Attributes:
        what: a sentence without its full stop.
        terms: names of losses or parameters.
        ranks: the `files` of those whose losses were not finite, of all for a gradient.
        losses: mean over ranks, by name.
        is_loss: the weights before the step are to be doubted.
    """

    what: str
    terms: list[str]
    ranks: list[dict[str, Any]]
    losses: dict[str, float]
    is_loss: bool

    @property
    def files(self) -> list[str]:
        """Names of the files of the batch."""
        return [name for rank in self.ranks for name in rank["files"]]


def kept_files(folder: Path) -> list[Path]:
    """What is kept of steps of a run, in the order of iterations."""
    found = {path: int(name[1]) for path in folder.glob("nonfinite_*.pth") if (name := FILES.fullmatch(path.name))}
    return sorted(found, key=lambda path: found[path])


def sample_name(sample: Mapping[str, Any]) -> str:
    """What a sample of a batch is called: its file, or its number where it has none."""
    return str(sample.get("file_name", f"image {sample.get('image_id', '?')}"))


class StepRecorder:
    """Remembers what a step begins with, and writes it if the step goes wrong.

    Args:
        network: the model without its distributed wrapper.
        state: what else a file holds; without it, none is written.
        folder: of the run.
    """

    def __init__(self, network: nn.Module, state: RunState | None, folder: Path) -> None:
        self.network, self.state, self.folder = network, state, folder
        self._batch: Sequence[dict] = ()
        self._rng: dict[str, Any] = {}
        self._buffers: dict[str, torch.Tensor] = {}

    def begin(self, batch: Sequence[dict]) -> None:
        """A step begins with this batch of this rank."""
        self._batch, self._rng = batch, get_rng_state()
        self._buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}

    @torch.no_grad()
    def restore_buffers(self) -> None:
        """The model's buffers are as before the step."""
        for name, buffer in self.network.named_buffers():
            buffer.copy_(self._buffers[name])

    def write(self, step: NonFiniteStep, iteration: int, losses: dict[str, float], *, is_check: bool = False) -> str:
        """Write the file on the main process; all ranks must call it.

        Args:
            losses: of this rank.

        Returns:
            A sentence about the file, or "".
        """
        if self.state is None:
            return ""
        ranks = comm.gather(self._rank(losses))
        weights, averaged = self._weights()
        about = ""
        if comm.is_main_process():
            content = {
                **{"iteration": iteration, "what": step.what, "terms": step.terms, "is_check": is_check},
                **{"model": weights, "averaged": averaged, "scaler": self.state.parts["scaler"].state_dict()},
                **{"class_weights": getattr(self.network, "class_weights", None)},
                **{"device": next(self.network.parameters()).device.type, "threads": torch.get_num_threads()},
                **{"ranks": ranks, "recipe": "", "metadata": {}, **self.state.description},
            }
            about = self._save(self.folder / f"nonfinite_{iteration:07d}.pth", content)
        return all_gather_object(about)[0]

    def _rank(self, losses: dict[str, float]) -> dict[str, Any]:
        batch = None
        try:
            batch = to_plain(list(self._batch))
        except TypeError as error:
            logger.warning("The batch is not kept: %s.", error)
        return {"batch": batch, "rng": self._rng, "losses": losses}

    def _weights(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        own = self.network.state_dict()
        before = {name: value for name, value in self._buffers.items() if name in own}
        averaged = None if self.state is None or self.state.averaged is None else self.state.averaged.state_dict()
        return full_tensor({**own, **before}), None if averaged is None else full_tensor(averaged)

    def _save(self, path: Path, content: dict[str, Any]) -> str:
        """A disk that is full is no reason to hide what happened."""
        try:
            save_checkpoint(path, content)
        except OSError as error:
            return f"Nothing of it could be kept: {error}."
        size = path.stat().st_size / 2**20
        return f"{path} ({size:.1f} MiB) keeps it, and `focalnet-d2 replay {self.folder}` does it again."

    def is_worth_keeping(self) -> bool:
        """Whether a step that is skipped is kept; all ranks must call it."""
        return all_gather_object(len(kept_files(self.folder)) < KEPT_OF_SKIPPED)[0]

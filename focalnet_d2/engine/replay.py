"""Does a step again whose losses or gradients were not finite, and looks for where that began (`nonfinite.py`)."""

import json
import logging
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from omegaconf import DictConfig

from focalnet_d2.checkpoint import read_checkpoint
from focalnet_d2.config.lazy import recipe_from_yaml
from focalnet_d2.config.recipe_trust import refuse_untrusted
from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.text import some_of

from .device import resolve_device
from .distributed import all_gather_object, launch, local_rank
from .finite_trace import FiniteTrace, floats_in
from .freezing import freeze
from .nonfinite import FILES, kept_files, sample_name
from .plain_batch import from_plain
from .rng import set_rng_state
from .run import build_model, step_settings
from .trainer import Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankReplay:
    """What one process of the run gave again; texts have no full stop.

    Attributes:
        rank: its number.
        recorded, replayed: losses by name, then and now.
        inputs: parts of its batch that are not finite.
        forward, backward: where values stopped being finite, see `finite_trace.Findings`.
    """

    rank: int
    recorded: dict[str, float]
    replayed: dict[str, float]
    inputs: list[str]
    forward: str | None
    backward: str | None

    @property
    def is_equal(self) -> bool:
        """Whether all losses are the same numbers, bit for bit; NaN is NaN."""
        return {name: repr(value) for name, value in self.recorded.items()} == {
            name: repr(value) for name, value in self.replayed.items()
        }


@dataclass(frozen=True)
class Replay:
    """A step that was done again.

    Attributes:
        file: what was kept of it.
        iteration: of the step.
        what: what was not finite, with its iteration.
        processes: of the run.
        device: kind of device then.
        weights: names of those that were not finite before the step.
        ranks: what was done again, all of them unless this machine has fewer GPUs than the run had.
    """

    file: Path
    iteration: int
    what: str
    processes: int
    device: str
    weights: list[str]
    ranks: list[RankReplay]

    @property
    def is_equal(self) -> bool:
        """Whether every process gave its losses again."""
        return len(self.ranks) == self.processes and all(rank.is_equal for rank in self.ranks)


def find_kept(place: Path, iteration: int | None = None) -> Path:
    """The file of a step: the one that is named, else of the steps of the run in a folder the last one.

    Args:
        iteration: of the step that is meant.

    Raises:
        FileNotFoundError: there is none.
    """
    if place.is_file():
        return place
    files = kept_files(place)
    if not files:
        raise FileNotFoundError(
            f"{place} holds no step to do again (nonfinite_*.pth): all losses and gradients of its run were finite."
        )
    if iteration is None:
        return files[-1]
    for file in files:
        if int(FILES.fullmatch(file.name)[1]) == iteration:  # type: ignore[index] - they have such names
            return file
    raise FileNotFoundError(f"{place} holds nothing of iteration {iteration}, but {some_of(f.name for f in files)}.")


def replay(file: Path, *, trust: bool = False) -> Replay:
    """Do a step again, in as many processes as the run had.

    Args:
        trust: its recipe may build anything.

    Raises:
        ValueError: the file is not one of a step, or its batch could not be kept.
        RecipeError: the recipe needs trust.
    """
    content = _read(file)
    recipe = _recipe_of(content, file, trust)
    processes, device = len(content["ranks"]), resolve_device(recipe.train.device)
    ranks = _guilty(content) if device.type == "cuda" and processes > torch.cuda.device_count() else range(processes)
    if len(ranks) == 1 or processes == 1:
        done = [_do_again(content, recipe, rank) for rank in ranks][:1]
    else:
        done = _in_processes(file, trust, processes, use_cuda=device.type == "cuda")
    bad = [name for name, value in content["model"].items() if any(not v.isfinite().all() for v in floats_in(value))]
    return Replay(file, content["iteration"], content["what"], processes, content["device"], bad, done)


def _read(file: Path) -> dict[str, Any]:
    content = read_checkpoint(file)
    if not {"ranks", "is_check", "what", "model", "recipe"} <= content.keys():
        raise ValueError(f"{file} keeps no step of a run: name a file nonfinite_*.pth, or the folder of the run.")
    for rank, kept in enumerate(content["ranks"]):
        if kept["batch"] is None:
            raise ValueError(f"{file} lacks the batch of process {rank}, which held what no file can keep.")
    return content


def _recipe_of(content: dict[str, Any], file: Path, trust: bool) -> DictConfig:
    recipe = recipe_from_yaml(content["recipe"], f"The recipe in {file}")
    if not trust:
        refuse_untrusted(recipe, str(file))
    return recipe


def _guilty(content: dict[str, Any]) -> list[int]:
    """The first process whose losses were not finite, else the first one of all."""
    losses = [kept["losses"].values() for kept in content["ranks"]]
    return [next((rank for rank, values in enumerate(losses) if not all(map(math.isfinite, values))), 0)]


def _in_processes(file: Path, trust: bool, processes: int, *, use_cuda: bool) -> list[RankReplay]:
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "ranks.json"
        launch(_do_rank_again, num_processes=processes, use_cuda=use_cuda, args=(file, trust, found))
        return [RankReplay(**rank) for rank in json.loads(found.read_text(encoding="utf-8"))]


def _do_rank_again(file: Path, trust: bool, found: Path) -> None:
    content = _read(file)
    own = _do_again(content, _recipe_of(content, file, trust), comm.get_rank())
    ranks = all_gather_object(vars(own))
    write_atomically(found, json.dumps(ranks))  # each the same, and where torchrun has started them each its own


def _do_again(content: dict[str, Any], recipe: DictConfig, rank: int) -> RankReplay:
    """The step of one process: once as it was, and once watched."""
    kept, batch = content["ranks"][rank], from_plain(content["ranks"][rank]["batch"])
    with _threads(content["threads"]):
        trainer = _trainer(content, recipe, batch)
        replayed = _losses(trainer, content, rank, batch)
        with FiniteTrace(trainer.network) as trace:
            _losses(trainer, content, rank, batch)
    return RankReplay(rank, kept["losses"], replayed, _bad_inputs(batch), *trace.findings)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _trainer(content: dict[str, Any], recipe: DictConfig, batch: list[dict]) -> Trainer:
    model: Any = build_model(recipe)
    freeze(model, recipe.train.get("freeze", ()))
    if content.get("class_weights"):
        model.weigh_classes(content["class_weights"])
    device = resolve_device(recipe.train.device, local_rank())
    unused = torch.optim.SGD(model.parameters(), lr=0.0)
    trainer = Trainer(model, [batch], unused, device=device, **step_settings(recipe, device))
    if trainer.scaler.is_enabled() and content["scaler"]:
        trainer.scaler.load_state_dict(content["scaler"])
    return trainer


def _losses(trainer: Trainer, content: dict[str, Any], rank: int, batch: list[dict]) -> dict[str, float]:
    trainer.network.load_state_dict(content["model"])
    trainer.iter = content["iteration"]
    with EventStorage(trainer.iter) as trainer.storage:
        set_rng_state(content["ranks"][rank]["rng"])
        return trainer.compute_losses(batch) if content["is_check"] else trainer.compute_gradients(batch)[0]


def _bad_inputs(batch: list[dict]) -> list[str]:
    found = []
    for sample in batch:
        for key, value in {**sample, **_fields(sample)}.items():
            tensors = [] if key == "instances" else list(floats_in(value))
            bad = sum(int((~tensor.isfinite()).sum()) for tensor in tensors)
            if bad:
                found.append(f"{bad} numbers of {key} of {sample_name(sample)}")
    return found


def _fields(sample: dict) -> dict[str, Any]:
    instances: Any = sample.get("instances")
    return instances.get_fields() if hasattr(instances, "get_fields") else {}

"""What two processes do, and one process for comparison: the samples of their steps, and two steps without chance."""

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from focalnet_d2.config.building import build
from focalnet_d2.engine.distributed import all_gather_object
from focalnet_d2.engine.jobs import Job
from focalnet_d2.engine.preflight import read_data
from focalnet_d2.engine.run import build_model, build_trainer, start_run
from focalnet_d2.utils.atomic_write import write_atomically

from .fixed_draws import FixedDraws
from .runs import in_folder, quiet
from .small_form import STEPS

SAMPLES, GRADIENTS = "samples.json", "gradients.pth"
_LARGER_THAN_GRADIENTS = 1.0  # clipped ones of recipes are below it, and rounding far below


class Shared(NamedTuple):
    """What some processes do together.

    Attributes:
        job: the small form, whose samples are compared.
        paired: the same on an image and its mirror image, which is trained; None: not known how.
        folder: of the results.
    """

    job: Job
    paired: Job | None
    folder: Path


def share(work: Sequence[Shared], place: str) -> None:
    """Do it in each process of a run; the main process writes into `place` in the folders."""
    torch.set_num_threads(1)
    with quiet():
        for job, paired, folder in work:
            _write_samples(job, folder / place)
            if paired is not None:
                _train_paired(in_folder(paired, folder / place).read_recipe())


def _write_samples(job: Job, folder: Path) -> None:
    """Digests of the samples of each step, in the order in which one process has them."""
    recipe = in_folder(job, folder).read_recipe()
    start_run(recipe)
    data = read_data(recipe, to_train=True)
    loader = build(recipe.dataloader.train, "dataloader.train", dataset=data.train)
    own = [[_digest(sample) for sample in batch] for batch in itertools.islice(loader, STEPS)]
    ranks = all_gather_object(own)
    if comm.is_main_process():
        steps = [list(itertools.chain.from_iterable(parts)) for parts in zip(*ranks, strict=True)]
        write_atomically(folder / SAMPLES, json.dumps(steps))


def _digest(sample: dict[str, Any]) -> str:
    """Of the file, the pixels and the boxes."""
    found = hashlib.sha256(str(sample.get("file_name")).encode())
    instances = sample.get("instances")
    boxes = [instances.gt_boxes.tensor] if instances is not None and instances.has("gt_boxes") else []
    for values in [sample["image"], *boxes]:
        found.update(torch.as_tensor(values).contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _train_paired(recipe: DictConfig) -> None:
    """Steps whose random numbers are fixed, from weights that the seed decides.

    Batch norms take no statistics, which would be those of a process, unless they are synchronized.
    """
    folder = start_run(recipe)
    model = build_model(recipe)
    norms = [
        name
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm)
    ]
    recipe.train.freeze = [*recipe.train.get("freeze", ()), *norms]
    trainer, start = build_trainer(model, recipe, resume=False)
    move_by_gradients(trainer.optimizer)
    with FixedDraws():
        trainer.train(start, recipe.train.max_iter)
    if comm.is_main_process():
        torch.save(mean_gradients(model, trainer.optimizer), folder / GRADIENTS)


def move_by_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Let weights move by about as much as their gradients are large.

    Adam and its kind divide a gradient by its size: a weight whose gradient is nothing but rounding moves as far as any
    other, in a direction that depends on the processor and on how many images are summed up at once. The next step
    then differs by percents. The term that keeps the divisor from zero is made larger than gradients are.
    """
    for group in optimizer.param_groups:
        if "eps" in group:
            group["eps"] = _LARGER_THAN_GRADIENTS


def mean_gradients(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's averages of the gradients, of the same shapes, by the names of the parameters.

    They tell more than the weights, see `move_by_gradients`.
    """
    state = {name: optimizer.state.get(parameter, {}) for name, parameter in model.named_parameters()}
    found = {name: values.get("exp_avg", values.get("momentum_buffer")) for name, values in state.items()}
    return {name: value.detach().clone() for name, value in found.items() if value is not None}

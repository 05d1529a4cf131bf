"""`train.batch=auto`: the settings with which the batch of a run fits into the memory of its processes."""

import logging
import os
from collections.abc import Sequence

from detectron2.utils import comm
from omegaconf import DictConfig

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.config.memory_size import AUTO, BATCH, RESERVE, gib, memory_size
from focalnet_d2.engine.device import resolve_amp, resolve_device
from focalnet_d2.engine.distributed import all_gather_object, local_rank, on_main_process
from focalnet_d2.utils.text import plural

from .available_memory import available_memory
from .planner import Way, ways_to_fit

logger = logging.getLogger(__name__)


def settings_that_fit(recipe: DictConfig, records: Sequence[dict]) -> list[str]:
    """What to change of a recipe so that its step fits: parts of the batch, then recomputed activations; logs it.

    Neither the batch nor the precision changes. All processes of the run have to call it together.

    Args:
        recipe: with `train.batch`: auto, or the memory of each process.
        records: dataset dicts to learn from.

    Returns:
        `key=value` settings.

    Raises:
        RecipeError: nothing fits, or the recipe shards its weights, which a plan does not know.
    """
    if recipe.train.parallel == "fsdp":
        raise RecipeError("train.batch cannot plan for train.parallel=fsdp: set train.accumulation yourself.")
    memory = min(all_gather_object(_memory(recipe)))
    way = on_main_process(lambda: _chosen(recipe, records, memory))
    return way.settings


def _memory(recipe: DictConfig) -> int:
    """Bytes that this process may fill."""
    wanted = str(recipe.train.batch)
    if wanted != AUTO:
        return memory_size(wanted) or 0
    device = resolve_device(recipe.train.device, local_rank())
    sharing = 1 if device.type == "cuda" else int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return available_memory(device) // sharing


def _chosen(recipe: DictConfig, records: Sequence[dict], memory: int) -> Way:
    budget, planned = int(memory * (1 - RESERVE)), recipe.copy()
    device = resolve_device(recipe.train.device, local_rank())
    logger.info("train.batch=%s: counting what a training step takes, before the first one", recipe.train.batch)
    # A plan computes on the CPU, where half precision is bf16.
    planned.train.amp = "off" if resolve_amp(recipe.train.amp, device, training=True) is None else "bf16"
    *_, way = ways_to_fit(planned, budget, processes=comm.get_world_size(), records=records, lower_precision=False)
    room = f"{gib(budget)} GiB ({1 - RESERVE:.0%} of what there is)"
    if not way.fits:
        raise RecipeError(
            f"train.batch={recipe.train.batch}: nothing fits into {room}. With {plural(way.images, 'image')} at once "
            f"and activations recomputed it takes {gib(way.peak)} GiB. Take a smaller model or smaller images "
            "(dataloader.train.mapper.augmentations), or try train.amp=bf16."
        )
    logger.info(
        "train.batch=%s: a step of %s=%d needs %s of %s in each process with %s",
        *(recipe.train.batch, BATCH, recipe.dataloader.train.total_batch_size, gib(way.peak), room),
        " ".join(way.settings),
    )
    return way

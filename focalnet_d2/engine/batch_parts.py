"""`train.batch`: a run gets the settings with which its batch fits into memory once, and keeps them when it goes on."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from focalnet_d2.config.lazy import RecipeError, apply_overrides

from .distributed import on_main_process
from .run_folder import read_identity

Planner = Callable[[DictConfig, Any], Sequence[str]]  # recipe, dataset dicts by position
KEY = "train.batch"

logger = logging.getLogger(__name__)


def fit_batch(
    recipe: DictConfig, planner: Planner | None, records: Any, *, resume: bool, trust: bool = False
) -> tuple[str, ...]:
    """Set in place what `train.batch` stands for, and the setting itself to null: the recipe of a run is complete.

    All ranks have to call it together.

    Args:
        planner: gives the settings for a recipe and the dataset dicts to learn from, on all ranks.
        resume: of a run for which settings were chosen, these stand, and nothing is set.

    Returns:
        The `key=value` settings that were typed or chosen; () where nothing was.

    Raises:
        RecipeError: nothing fits, or there is no planner.
    """
    wanted = recipe.train.get("batch")
    if wanted is None:
        return ()
    if resume and (earlier := on_main_process(lambda: _earlier(Path(recipe.train.output_dir)))):
        logger.info("The run goes on with what %s has chosen at its start.", earlier)
        recipe.train.batch = None
        return ()
    if planner is None:
        raise RecipeError(f"{KEY}={wanted} is for `focalnet-d2 train`: set train.accumulation here.")
    settings = planner(recipe, records)
    apply_overrides(recipe, [*settings, f"{KEY}=null"], trust=trust)
    return (f"{KEY}={wanted}", *settings)


def _earlier(folder: Path) -> str:
    """What was typed when the settings of a run were chosen; "" if none were."""
    identity = read_identity(folder)
    typed = [text for text in identity.overrides if text.partition("=")[0] == KEY] if identity else []
    return "" if not typed or typed[-1] == f"{KEY}=null" else typed[-1]

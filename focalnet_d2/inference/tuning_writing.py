"""Writes tuned thresholds into a checkpoint, and into the recipe of the run that it lies in."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from focalnet_d2.checkpoint import read_checkpoint, save_checkpoint
from focalnet_d2.config.lazy import RecipeError, recipe_from_yaml, recipe_to_yaml
from focalnet_d2.config.recipe_files import RUN_RECIPE
from focalnet_d2.engine.run_folder import read_identity
from focalnet_d2.utils.atomic_write import write_atomically

from .thresholds import DEFAULT, ENTRY
from .trained import classes_of
from .tuning import Tuning

PANOPTIC = "model.inference.panoptic"


def require_recipe(content: Mapping[str, Any], path: str) -> str:
    """The recipe in a checkpoint, which gets the thresholds.

    Raises:
        RecipeError: it holds none.
    """
    text = content.get("recipe")
    if not isinstance(text, str) or not text.strip():
        raise RecipeError(
            f"{path} holds no recipe, so it cannot hold thresholds: --write needs a checkpoint of a run. For another "
            f"file, give {PANOPTIC}.object_mask_threshold, {PANOPTIC}.overlap_threshold and the threshold when you "
            "predict."
        )
    return text


def require_writable(path: str) -> None:
    """Raises PermissionError, before any work is done, where a checkpoint may not be replaced."""
    if not os.stat(path).st_mode & 0o222 or not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK | os.X_OK):
        raise PermissionError(
            f"{path} may not be written to, so --write cannot keep thresholds in it: copy it, or change its rights."
        )


def write_thresholds(checkpoint: str | os.PathLike, tuning: Tuning) -> list[Path]:
    """Put what was found into the checkpoint: panoptic thresholds into its recipe, scores into its metadata.

    Where the file lies in the folder of the run that wrote it, the `recipe.yaml` there gets the panoptic thresholds, so
    that an evaluation of the run uses them, too. Each file is complete or as before.

    Returns:
        The files that were written.

    Raises:
        FileNotFoundError, ValueError: the checkpoint cannot be read, or holds no recipe.
        OSError: it cannot be written.
    """
    path = Path(checkpoint)
    content = read_checkpoint(path)
    recipe = recipe_from_yaml(require_recipe(content, str(path)), f"The recipe in {path}")
    metadata = dict(content.get("metadata") or {})
    if tuning.classes:
        names = classes_of(content, recipe, int(recipe.model.num_classes), str(path)).names
        metadata[ENTRY] = dict.fromkeys(names, DEFAULT) | {one.name: one.after for one in tuning.classes}
    save_checkpoint(path, {**content, "recipe": _tuned_text(recipe, tuning), "metadata": metadata})
    beside = path.parent / RUN_RECIPE
    identity = read_identity(path.parent) if beside.is_file() else None
    if tuning.panoptic is None or identity is None or identity.id != metadata.get("run"):
        return [path]
    own = recipe_from_yaml(beside.read_text(encoding="utf-8"), str(beside))
    write_atomically(beside, _tuned_text(own, tuning))
    return [path, beside]


def _tuned_text(recipe: DictConfig, tuning: Tuning) -> str:
    """The recipe with the panoptic thresholds, as YAML."""
    if tuning.panoptic is not None:
        for name, value in tuning.panoptic.after._asdict().items():
            OmegaConf.update(recipe, f"{PANOPTIC}.{name}", value)
    return recipe_to_yaml(recipe)

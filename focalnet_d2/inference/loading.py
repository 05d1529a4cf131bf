"""The model of a recipe with its weights, ready to predict."""

import logging
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from focalnet_d2.checkpoint import load_checkpoint
from focalnet_d2.checkpoint.selection import UNNAMED
from focalnet_d2.config.building import build
from focalnet_d2.engine.device import resolve_device
from focalnet_d2.engine.own_data import read_recipe
from focalnet_d2.engine.precision import predict_in

logger = logging.getLogger(__name__)


def load_model(
    recipe: str | Path,
    weights: str | PathLike | None = None,
    *,
    overrides: Iterable[str] = (),
    device: str = "cpu",
    trust: bool = False,
) -> nn.Module:
    """Build the model of a recipe in evaluation mode, with weights, on a device.

        model = load_model("dino_focalnet_mini_quickstart", weights="weights/dino_focalnet_mini_day.safetensors")
        with torch.no_grad():
            (result,) = model([{"image": image}])  # image: (3, H, W), RGB from 0 to 255

    It predicts in the number format of the recipe's `train.amp`, as an evaluation does. For the published weights of a
    recipe see `focalnet_d2.model_zoo`.

    Args:
        recipe: name of a shipped recipe, or path of a `.py` or of the `recipe.yaml` of a run.
        weights: checkpoint in any known layout, which must fill the whole model; by default the recipe's
            `train.init_checkpoint`. Where that is empty, too, the weights are random, and a warning says so.
        overrides: `key=value` settings of the recipe, as on the command line, `data=DIR` among them.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        trust: a `recipe.yaml` may build anything, as a Python recipe may (see `load_recipe`).

    Raises:
        RecipeError: there is no such recipe, it needs trust, or an override does not fit it.
        FileNotFoundError: there is no such file of weights.
        ValueError: the file cannot be read or does not fit the model, or the device is not available.
    """
    loaded = read_recipe(recipe, overrides, trust=trust)
    target = resolve_device(device)
    file = loaded.train.init_checkpoint if weights is None else weights
    model = build_with_weights(loaded, file)
    if not file:
        logger.warning("No file of weights was given: the weights of this %s are random.", type(model).__name__)
    return predict_in(model.to(target).eval(), loaded.train.amp)


def build_with_weights(recipe: DictConfig, weights: str | PathLike) -> nn.Module:
    """Build the model of a loaded recipe on the CPU, in training mode, and fill it from a file.

    Args:
        weights: checkpoint in any known layout, which must fill the whole model; "" leaves the weights random.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read or does not fit the model.
    """
    model = build(recipe.model, "model")
    if weights:
        fill(model, recipe, weights)
    return model


def fill(
    model: nn.Module, recipe: DictConfig, weights: str | PathLike | Mapping[str, Any], source: str = UNNAMED
) -> None:
    """Fill the whole model of a recipe from a file, or from the content of one that messages call `source`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read or does not fit the model.
    """
    train = recipe.train
    options = {"entry": train.get("weights_entry", ""), "allow_nonfinite": train.get("allow_nonfinite", False)}
    logger.info("%s", load_checkpoint(model, weights, complete=True, source=source, **options))

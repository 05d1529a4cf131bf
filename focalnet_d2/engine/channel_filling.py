"""From `data.channels` to a recipe for images of other channels than 8-bit red, green and blue."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.config.data_group import GROUP
from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.config.nodes import containers, full_name
from focalnet_d2.config.settings import known_target
from focalnet_d2.data.channel_statistics import MOST_IMAGES, channel_statistics, chosen_channels, rounded
from focalnet_d2.data.channels import ChannelFormat

from .recipe_filling import LOADERS

_TO_KNOW_THE_TYPE = 8  # images that are read where mean and std are given


def find_channels(settings: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
    """What images hold, as plain arguments of `ChannelFormat`.

    Args:
        settings: the group `data`, with channels.
        files: the training images.

    Raises:
        RecipeError: a channel is the same everywhere.
        FileNotFoundError, ValueError: an image cannot be read, or they have different channels or others than the
            settings say.
    """
    is_given = bool(settings["mean"])
    statistics = channel_statistics(files, _TO_KNOW_THE_TYPE if is_given else MOST_IMAGES)
    channels = chosen_channels(settings["channels"], statistics, settings["root"])
    mean, std = rounded(statistics.mean[channels]), rounded(statistics.std[channels])
    if not is_given and (constant := [one for one, spread in zip(channels, std) if spread == 0]):
        others = [one for one in channels if one not in constant]
        raise RecipeError(
            f"The channels {constant} of the images in {settings['root']} have the same value everywhere, from which "
            f"nothing can be learned: leave them out, as by {GROUP}.channels={str(others).replace(' ', '')}."
        )
    return {
        "dtype": statistics.dtype,
        "stored": len(statistics.mean),
        "channels": channels,
        "mean": list(map(float, settings["mean"])) or mean,
        "std": list(map(float, settings["std"])) or std,
        "rgb": list(settings["rgb"]),
    }


def set_channels(recipe: DictConfig, found: Mapping[str, Any]) -> None:
    """Make the recipe read these channels, and its model take them, in place.

    Args:
        found: of `find_channels`.

    Raises:
        RecipeError: the model has no FocalNet, or no mean and std of pixels.
    """
    backbones = [node for _, node in containers(recipe.model, "model.") if _builds_focalnet(node)]
    model = known_target(recipe.model)
    if not backbones or model is None or "pixel_mean" not in inspect.signature(model).parameters:
        raise RecipeError(
            f"{GROUP}.channels is for models with a FocalNet and the arguments pixel_mean and pixel_std, which this "
            "recipe's model does not have."
        )
    for node in backbones:
        node.in_chans = len(found["channels"])
    recipe.model.pixel_mean, recipe.model.pixel_std = list(found["mean"]), list(found["std"])
    for loader in LOADERS:
        recipe.dataloader[loader].mapper.image_format = {"_target_": full_name(ChannelFormat), **found}


def _builds_focalnet(node: Any) -> bool:
    target = known_target(node) if isinstance(node, DictConfig) else None
    return inspect.isclass(target) and issubclass(target, FocalNet)


def channel_format(recipe: DictConfig) -> ChannelFormat | None:
    """The channels of a recipe's images; None where these are red, green and blue."""
    node = recipe.dataloader.train.mapper.get("image_format")
    if not isinstance(node, DictConfig):
        return None
    fields = {name: value for name, value in OmegaConf.to_container(node).items() if name != "_target_"}  # type: ignore[union-attr]
    return ChannelFormat(**fields)  # type: ignore[arg-type]

"""Pipelines of augmentations that a recipe names by their files."""

from omegaconf import DictConfig

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.data.albumentations_adapter import Albumentations
from focalnet_d2.data.albumentations_pipeline import read_description

from .channel_filling import channel_format

_SETTING = "albumentations"  # of dataloader.train


def keep_pipeline(recipe: DictConfig) -> None:
    """Puts the pipeline itself in the place of its file, so that the run's recipe has it, in place.

    Raises:
        ImportError, FileNotFoundError, ValueError: it cannot be used; nothing was built for it.
        RecipeError: the images have other values than 8 bits.
    """
    given = recipe.dataloader.train.get(_SETTING)
    if not given:
        return
    images = channel_format(recipe)
    if images is not None and images.dtype != "uint8":
        raise RecipeError(
            f"dataloader.train.{_SETTING} changes images of 8 bits, and those of data.channels have values of type "
            f"{images.dtype}: leave it out."
        )
    Albumentations(given)  # a mistake shows before data are read, with the name of the file
    if isinstance(given, str):
        recipe.dataloader.train[_SETTING] = read_description(given)

"""Pipelines of augmentations that a recipe names by their files."""

from omegaconf import DictConfig

from focalnet_d2.data.albumentations_adapter import Albumentations
from focalnet_d2.data.albumentations_pipeline import read_description

_SETTING = "albumentations"  # of dataloader.train


def keep_pipeline(recipe: DictConfig) -> None:
    """Puts the pipeline itself in the place of its file, so that the run's recipe has it, in place.

    Raises:
        ImportError, FileNotFoundError, ValueError: it cannot be used; nothing was built for it.
    """
    given = recipe.dataloader.train.get(_SETTING)
    if not given:
        return
    Albumentations(given)  # a mistake shows before data are read, with the name of the file
    if isinstance(given, str):
        recipe.dataloader.train[_SETTING] = read_description(given)

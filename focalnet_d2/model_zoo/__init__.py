"""Every shipped recipe with its weights.

    from focalnet_d2 import model_zoo
    zoo_model = model_zoo.get("dino_focalnet_large_fl4_objects365_to_coco")
    zoo_model.recipe  # as `load_recipe` gives it
    zoo_model.weights  # path of the published file with the trained model, downloaded if need be
    zoo_model.start_weights  # path of the file that its training starts from: a classifier, or an earlier detector
    zoo_model.model()  # built, with the trained weights, in evaluation mode

`python -m focalnet_d2.model_zoo --list` prints them all, `MODEL_ZOO.md` has the tables.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from detectron2.config import instantiate
from omegaconf import DictConfig
from torch import nn

from focalnet_d2.checkpoint import load_checkpoint
from focalnet_d2.config.lazy import list_recipes, load_recipe

from .files import fetch_weights, find_weights
from .notes import RecipeNotes, read_notes
from .weights import WEIGHT_FILES, WeightFile, trained_weights

__all__ = ["ZooModel", "fetch_weights", "find_weights", "get", "list_models"]


def list_models(substring: str = "") -> list[str]:
    """Names of the recipes that have this in their name, sorted."""
    return [name for name in list_recipes() if substring in name]


def get(name: str, folder: str | os.PathLike | None = None) -> "ZooModel":
    """The recipe of this name with its weights; nothing is downloaded before it is asked for.

    Args:
        name: of a shipped recipe.
        folder: looked into first, and where downloads go (default: see `files.weight_folders`).

    Raises:
        RecipeError: there is no such recipe; the message names the nearest ones.
    """
    return ZooModel(read_notes(name), None if folder is None else Path(folder))


@dataclass(frozen=True)
class ZooModel:
    """A recipe and its weights.

    Attributes:
        notes: what the recipe says about itself.
        folder: see `get`.
    """

    notes: RecipeNotes
    folder: Path | None = None

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.notes.name

    @cached_property
    def recipe(self) -> DictConfig:
        """The recipe, loaded once."""
        return load_recipe(self.name)

    @property
    def trained_file(self) -> WeightFile | None:
        """The published file with the trained model."""
        return trained_weights(self.name)

    @property
    def start_file(self) -> WeightFile | None:
        """The published file that training starts from: the one that is named, or the trained one of a named recipe."""
        if self.notes.start_file is not None:
            return WEIGHT_FILES.get(self.notes.start_file)
        words = self.notes.start.replace(";", " ").replace(",", " ").split()
        recipes = [word for word in words if word in list_recipes()]
        return trained_weights(recipes[0]) if recipes else None

    @property
    def weights(self) -> Path:
        """The trained model's file, downloaded if no folder has it.

        Raises:
            FileNotFoundError: none is published, or it is nowhere to be had; the message says what to put where.
        """
        return self._fetch(self.trained_file, "a trained model", f"Train it: {self.notes.command}")

    @property
    def start_weights(self) -> Path:
        """The file that training starts from, downloaded if no folder has it.

        Raises:
            FileNotFoundError: as for `weights`.
        """
        return self._fetch(self.start_file, "a file to start from", f"Its recipe says: {self.notes.start}")

    def model(self) -> nn.Module:
        """The trained model on the CPU, in evaluation mode; every tensor comes from the file.

        Raises:
            FileNotFoundError: there is no file, see `weights`.
            ValueError: the file does not fit the recipe.
        """
        weights = self.weights
        model = instantiate(self.recipe.model)
        load_checkpoint(model, weights, complete=True)
        return model.eval()

    def _fetch(self, file: WeightFile | None, what: str, advice: str) -> Path:
        if file is None:
            raise FileNotFoundError(f"Of {self.name}, {what} was never published. {advice}")
        return fetch_weights(file, self.folder)

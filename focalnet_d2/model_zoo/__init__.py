"""Every shipped recipe with its weights.

    from focalnet_d2 import model_zoo
    zoo_model = model_zoo.get("dino_focalnet_large_fl4_objects365_to_coco")
    zoo_model.recipe  # as `load_recipe` gives it
    zoo_model.info  # what the recipe says about itself: source, start, published results
    zoo_model.weights  # path of the published file with the trained model, downloaded if need be
    zoo_model.start_weights  # path of the file that its training starts from: a classifier, or an earlier detector
    zoo_model.model()  # built, with the trained weights, in evaluation mode

`focalnet-d2 zoo --list` prints them all, `MODEL_ZOO.md` has the tables.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from omegaconf import DictConfig
from torch import nn

from focalnet_d2.config.lazy import find_recipe, list_recipes, load_recipe
from focalnet_d2.config.recipe_info import ANY_FILE, RecipeInfo, read_recipe_info
from focalnet_d2.inference.loading import build_with_weights

from .files import fetch_weights, find_weights
from .weights import WEIGHT_FILES, WeightFile, trained_weights

__all__ = ["ZooModel", "fetch_weights", "find_weights", "get", "list_models"]


def list_models(substring: str = "") -> list[str]:
    """Names of the recipes that have this in their name, sorted."""
    return [name for name in list_recipes() if substring in name]


def get(name: str, folder: str | os.PathLike | None = None) -> "ZooModel":
    """The recipe of this name with its weights; nothing is downloaded before it is asked for.

    Args:
        name: name of a shipped recipe.
        folder: looked into first, and where downloads go (default: see `files.weight_folders`).

    Raises:
        RecipeError: there is no such recipe; the message names the nearest ones.
    """
    return ZooModel(find_recipe(name).stem, read_recipe_info(name), None if folder is None else Path(folder))


@dataclass(frozen=True)
class ZooModel:
    """A recipe and its weights.

    Attributes:
        name: the recipe's name.
        info: what the recipe says about itself.
        folder: see `get`.
    """

    name: str
    info: RecipeInfo
    folder: Path | None = None

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
        start = self.info.start
        if start is None or start.unpublished is not None:
            return None
        return trained_weights(start.recipe) if start.recipe is not None else WEIGHT_FILES.get(start.file or "")

    @property
    def start(self) -> str:
        """What training starts from, in words."""
        return "random weights" if self.info.start is None else str(self.info.start)

    @property
    def command(self) -> str:
        """The command that trains it, for a recipe that only evaluates the one that does that."""
        if self.info.evaluation_only:
            return self.evaluation_command
        return " ".join([self._train_net, *self.info.train_arguments()])

    @property
    def evaluation_command(self) -> str:
        """The command that evaluates the trained model."""
        file = ANY_FILE if self.trained_file is None else self.trained_file.name
        return f"{self._train_net} --eval-only train.init_checkpoint={file}"

    @property
    def weights(self) -> Path:
        """The trained model's file, downloaded if no folder has it.

        Raises:
            FileNotFoundError: none is published, or no address gives it; the message says what to put where.
        """
        return self._fetch(self.trained_file, f"No trained model was published for {self.name}: run '{self.command}'.")

    @property
    def start_weights(self) -> Path:
        """The file that training starts from, downloaded if no folder has it.

        Raises:
            FileNotFoundError: as for `weights`.
        """
        missing = f"No file to start from was published for {self.name}: its training starts from {self.start}."
        return self._fetch(self.start_file, missing)

    def model(self) -> nn.Module:
        """The trained model on the CPU, in evaluation mode; every tensor comes from the file.

        Raises:
            FileNotFoundError: there is no file, see `weights`.
            ValueError: the file does not fit the recipe.
        """
        return build_with_weights(self.recipe, self.weights).eval()

    @property
    def _train_net(self) -> str:
        return f"python train_net.py --config-file {self.name}"

    def _fetch(self, file: WeightFile | None, missing: str) -> Path:
        if file is None:
            raise FileNotFoundError(missing)
        return fetch_weights(file, self.folder)

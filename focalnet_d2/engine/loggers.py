"""What a training writes its numbers to beside `metrics.json`, by the names in `train.loggers`."""

import importlib.util
import sys
from pathlib import Path

from detectron2.utils.events import EventWriter, TensorboardXWriter
from omegaconf import DictConfig

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.config.recipe_yaml import plain_recipe
from focalnet_d2.utils.text import some_of

from .csv_file import CSV, CsvFile
from .metrics import METRICS
from .trackers import MlflowLogger, WandbLogger

DEFAULT = ("tensorboard",)
PACKAGES = {"csv": None, "tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


def logger_names(train: DictConfig) -> list[str]:
    """The names in `train.loggers`, each once.

    Raises:
        RecipeError: there is no such logger, or its package is not installed.
    """
    names = list(dict.fromkeys(train.get("loggers", DEFAULT)))
    for name in names:
        if name not in PACKAGES:
            raise RecipeError(f"train.loggers has {name!r}, which is not one of {some_of(PACKAGES)}.")
        package = PACKAGES[name]
        if package and not _is_installed(package):
            raise RecipeError(
                f"train.loggers has {name}, but {package} is not installed: {sys.executable} -m pip install {package}"
            )
    return names


def _is_installed(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None


def make_loggers(recipe: DictConfig, run: str) -> list[EventWriter]:
    """The writers of a run; they touch no file and no network before its training begins.

    Args:
        run: id of the run (`run_folder.py`), or "".

    Raises:
        RecipeError: see `logger_names`.
    """
    folder = Path(recipe.train.output_dir)
    makers = {
        "csv": lambda: CsvFile(folder / CSV, folder / METRICS),
        "tensorboard": lambda: TensorboardXWriter(str(folder)),
        "wandb": lambda: WandbLogger(folder, run, plain_recipe(recipe)),
        "mlflow": lambda: MlflowLogger(folder, run, plain_recipe(recipe)),
    }
    return [makers[name]() for name in logger_names(recipe.train)]

"""Imports of parts of the shipped recipes by recipes that lie anywhere.

`from focalnet_d2.configs.common.train import train` in a recipe is what `from .common.train import train` is in a
shipped one. A part is executed anew for each import, as relative imports of Detectron2's recipes are: what one recipe
changes in it no other one sees. It works from a checkout, where the parts lie in `configs/`, and from an installed
package alike.
"""

import builtins
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from detectron2.config import LazyConfig
from omegaconf import DictConfig

from .recipe_files import recipe_folder

PACKAGE = "focalnet_d2.configs."
_RECIPE_PACKAGE = "detectron2._cfg_loader"  # the modules whose relative imports Detectron2 executes anew


@contextmanager
def shipped_fragments() -> Iterator[None]:
    """Inside, and inside Detectron2's loading of a recipe, such an import is one relative to the shipped recipes."""
    original = builtins.__import__
    here = {"__package__": _RECIPE_PACKAGE, "__file__": str(recipe_folder() / "recipe.py")}

    def import_(
        name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
    ) -> Any:
        if level == 0 and fromlist and name.startswith(PACKAGE):
            return builtins.__import__(name.removeprefix(PACKAGE), here, locals, fromlist, 1)
        return original(name, globals, locals, fromlist, level)

    builtins.__import__ = import_
    try:
        yield
    finally:
        builtins.__import__ = original


def load_fragment(name: str, variable: str) -> DictConfig:
    """What a part of the shipped recipes (`data/coco_panoptic`, below `common/`) assigns to a variable, made anew."""
    return cast(DictConfig, LazyConfig.load(str(recipe_folder() / "common" / f"{name}.py"), variable))

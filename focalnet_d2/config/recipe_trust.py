"""What a YAML recipe may build before anybody says that it is trusted.

A recipe names what it builds, with any arguments, and a name may be that of any function: who runs a recipe runs a
program. A YAML file looks like data and travels with checkpoints, so without `trust` it may only name what recipes are
made of. Python recipes are programs for everyone to see; they are run as they are.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from omegaconf import DictConfig

from .nodes import children, containers, raw_value
from .recipe_files import RecipeError
from .settings import located

# Modules whose classes and functions build parts of models, data, optimizers and evaluators, and start nothing else.
ALLOWED = (
    *("dino", "mask2former"),
    *(f"focalnet_d2.{name}" for name in ("backbone", "data", "evaluation", "layers", "modeling", "set_prediction")),
    *(f"focalnet_d2.engine.{name}" for name in ("accumulation", "optimizer")),
    *(f"focalnet_d2.inference.{name}" for name in ("box_fusion", "tta")),
    *(f"detectron2.{name}" for name in ("data", "evaluation", "layers", "modeling", "solver", "structures")),
    *("fvcore.common.param_scheduler", "torch.nn", "torch.optim"),
)
_LINK = re.compile(r"\$\{\.*\w+(?:\.\w+|\[\w+\])*\}")  # to another setting; OmegaConf's functions have a colon


def refuse_untrusted(recipe: DictConfig, source: str) -> None:
    """Refuses a recipe that builds or calls what is not `ALLOWED`.

    Raises:
        RecipeError: it does; nothing was built.
    """
    for name, value in ((name, raw_value(node)) for name, node in _settings(recipe)):
        if name == "_target_" and not (isinstance(value, str) and may_build(value)):
            raise RecipeError(
                _refusal(source, f"builds {value}, which is no part of this project, Detectron2 or torch")
            )
        if isinstance(value, str) and "${" in _LINK.sub("", value):
            raise RecipeError(_refusal(source, f"calls a function for its setting {name} ({value})"))


def _refusal(source: str, what: str) -> str:
    return (
        f"The recipe {source} {what}. Nothing of it was built; if you trust it like a program, add --trust (in Python "
        "trust=True)."
    )


def _settings(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every name, or position in a list, with its value."""
    for _, container in containers(node):
        yield from children(container)


@cache
def may_build(name: str) -> bool:
    """Whether a name, and what stands there, are of `ALLOWED` modules: `dino.model.os.system` is not."""
    if not _is_below(name, ALLOWED) or "__" in name:
        return False  # and is not even imported
    return _is_below(getattr(located(name), "__module__", None) or "", ALLOWED)


def _is_below(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)

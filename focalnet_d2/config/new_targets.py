"""What overrides may build: parts that need no trust and take the arguments that stand beside their name."""

import inspect
from collections.abc import Iterator

from omegaconf import DictConfig

from .nodes import children, containers, raw_value, target_name
from .recipe_files import RecipeError
from .recipe_trust import may_build
from .settings import known_target


def targets(recipe: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """("optimizer", that group) of every group with a `_target_`."""
    for path, node in containers(recipe):
        if isinstance(node, DictConfig) and "_target_" in dict(children(node)):
            yield path.removesuffix("."), node


def built_names(recipe: DictConfig) -> set[str | None]:
    """Full names of all that the recipe builds."""
    return {target_name(node) for _, node in targets(recipe)}


def check_targets(recipe: DictConfig, known: set[str | None], *, trust: bool) -> None:
    """Check what groups build.

    Args:
        known: names of `built_names` before the overrides, which have been checked.
        trust: any name will do.

    Raises:
        RecipeError: a `_target_` that is no name, or a new one that needs trust or takes other arguments.
    """
    for key, node in targets(recipe):
        name = target_name(node)
        if name is None:
            value = raw_value(node._get_node("_target_"))
            shown = "null" if value is None else repr(value)
            raise RecipeError(f"{key}._target_ is {shown}: it must be the full name of what the group builds.")
        if name in known or "${" in name:
            continue
        if not trust and not may_build(name):
            raise RecipeError(
                f"{key}._target_ is {name}, which is no part of this project, Detectron2 or torch: if you trust it "
                "like a program, add --trust (in Python trust=True)."
            )
        _check_arguments(key, name, node)


def _check_arguments(key: str, name: str, node: DictConfig) -> None:
    try:
        parameters = inspect.signature(known_target(node) or dict).parameters
    except (TypeError, ValueError):  # of what is written in C, or of another package
        return
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    others = [str(argument) for argument, _ in children(node) if argument != "_target_" and argument not in parameters]
    if others:
        raise RecipeError(f"{key}._target_ is {name}, which does not take {', '.join(others)} of {key}.")

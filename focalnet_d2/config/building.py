"""Building what a group of a recipe describes; an error names the group that could not be built."""

from collections.abc import Mapping
from typing import Any

from detectron2.config import instantiate
from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig

from .recipe_files import RecipeError

_MISTAKES = (ValueError, TypeError, ArithmeticError, AssertionError, LookupError)


def build(node: DictConfig, key: str, **arguments: Any) -> Any:
    """Build a group as Detectron2's `instantiate` does, with further arguments that only the run knows.

    Args:
        node: group of a recipe, which stays as it is.
        key: its name in the recipe, as `dataloader.train`.

    Raises:
        RecipeError: it, or a group inside, cannot be built with these values; begins with the key of that group.
    """
    if arguments:
        node = node.copy()
        for name, value in arguments.items():
            node[name] = value
    return _built(node, key)


def _built(node: Any, key: str) -> Any:
    if isinstance(node, ListConfig | list) and not (isinstance(node, ListConfig) and node._is_none()):
        elements = [_built(element, f"{key}.{index}") for index, element in enumerate(node)]
        return elements if isinstance(node, list) else ListConfig(elements, flags={"allow_objects": True})
    if not isinstance(node, Mapping) or (isinstance(node, DictConfig) and node._is_none()) or "_target_" not in node:
        return instantiate(node)
    arguments = {str(name): _built(value, f"{key}.{name}") for name, value in node.items() if name != "_target_"}
    target = node["_target_"]
    return _called(locate(target) if isinstance(target, str) else target, arguments, key)


def _called(target: Any, arguments: dict[str, Any], key: str) -> Any:
    try:
        return target(**arguments)
    except RecipeError:
        raise
    except Exception as error:
        if isinstance(error, _MISTAKES) or type(error) is RuntimeError:  # not what is derived: memory that is full
            name = f"{type(error).__name__} " if isinstance(error, AssertionError | LookupError) else ""
            raise RecipeError(f"{key}: {name}{error}") from error
        raise

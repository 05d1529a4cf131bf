"""Walking the tree of a recipe, as plain dicts and lists or as OmegaConf's nodes, without following links."""

from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig


def children(node: Any) -> Iterator[tuple[Any, Any]]:
    """(name or index, child) of every child of a group or list; nothing for a value, a link or None."""
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, list):
        yield from enumerate(node)
    elif isinstance(node, DictConfig | ListConfig) and not node._is_none() and not node._is_interpolation():
        names: Any = list(node.keys()) if isinstance(node, DictConfig) else range(len(node))
        yield from ((name, node._get_node(name)) for name in names)


def containers(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """("train.ema.", group) of every group and list; the node itself has the path that is given."""
    if isinstance(node, dict | list | DictConfig | ListConfig):
        yield path, node
        for name, child in list(children(node)):
            yield from containers(child, f"{path}{name}.")


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """("train.ema.decay", value) of every value, those in lists counted; an empty group or list is a value."""
    found = list(children(node))
    if not found:
        yield path, node
    for name, child in found:
        yield from leaves(child, f"{path}.{name}" if path else str(name))


def raw_value(node: Any) -> Any:
    """A value as it was written, a link as its text."""
    return node._value() if hasattr(node, "_value") else node


def target_name(node: Any) -> str | None:
    """Full name of the callable that a group builds; None where it builds nothing."""
    target = raw_value(dict(children(node)).get("_target_"))
    return full_name(target) if callable(target) else target if isinstance(target, str) else None


def full_name(target: Callable[..., Any]) -> str:
    """`torch.nn.modules.linear.Linear` for that class."""
    return f"{target.__module__}.{target.__qualname__}"

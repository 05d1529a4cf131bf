"""Descriptions of albumentations' pipelines, as its `to_dict` and `save` make them, read without executing code.

A description names classes and their arguments. Only classes of albumentations itself are made, never what a file could
have imported.
"""

import difflib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

_NAME = "__class_fullname__"


def import_albumentations(name: str = "albumentations") -> Any:
    """The module, or one that comes with it.

    Raises:
        ImportError: it is not installed; the message has the command that installs it.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # on import it would ask a server for its newest version
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            "A pipeline of albumentations needs that package, which is not installed here: "
            "pip install 'focalnet-d2[albumentations]'",
            name=name,
        ) from error


def read_description(file: str | Path) -> dict[str, Any]:
    """What a file of a pipeline holds: JSON, or YAML where its name ends so.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no description of a pipeline.
    """
    path = Path(file).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text) if path.suffix.lower() in (".yaml", ".yml") else json.loads(text)
    except FileNotFoundError:
        raise FileNotFoundError(f"The file of augmentations {file} does not exist.") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"The file of augmentations {file} cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("transform"), dict):
        raise ValueError(
            f"The file of augmentations {file} is none that albumentations wrote: it lacks the group transform; write "
            "it with albumentations.save(pipeline, FILE)."
        )
    return content


def read_pipeline(pipeline: str | Mapping[str, Any]) -> Any:
    """The transform or composition of albumentations that a file or a description says.

    Raises:
        ImportError: albumentations is not installed.
        FileNotFoundError, ValueError: it cannot be read, or names or sets what albumentations does not have.
    """
    source = f"The file of augmentations {pipeline}" if isinstance(pipeline, str) else "The pipeline of augmentations"
    content = read_description(pipeline) if isinstance(pipeline, str) else _plain(pipeline)
    A = import_albumentations()
    known = _own_classes()
    for name in _names(content.get("transform")):
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ValueError(f"{source} names {name}, which albumentations {A.__version__} does not have{hint}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Argument")  # which it does not know, and would leave out
            return A.from_dict(content)
    except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, UserWarning) as error:
        raise ValueError(f"{source} cannot be used: {_problem(error)}.") from error


def _plain(description: Mapping[str, Any]) -> Any:
    """A description that may lie in a recipe as plain dicts and lists."""
    return OmegaConf.to_container(description) if isinstance(description, DictConfig) else dict(description)


def _problem(error: Exception) -> str:
    """What is wrong with a description, without what pydantic adds for programmers."""
    return " ".join(str(error).split()).partition(" [type=")[0] or repr(error)


def _own_classes() -> set[str]:
    """Names of the transforms and compositions that albumentations has itself and reads."""
    A = import_albumentations()
    registry = import_albumentations("albumentations.core.serialization").SERIALIZABLE_REGISTRY
    return {
        name
        for name, made in registry.items()
        if getattr(A, name, None) is made and issubclass(made, A.BasicTransform | A.BaseCompose)
    }


def _names(node: Any) -> Iterator[Any]:
    """Every class that a description names."""
    if isinstance(node, Mapping):
        if _NAME in node or "transforms" in node:
            yield node.get(_NAME)
        for value in node.values():
            yield from _names(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _names(value)

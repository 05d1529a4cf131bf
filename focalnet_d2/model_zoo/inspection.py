"""What a checkpoint file is: family, sizes, classes, source, and the shipped recipes it fits.

Nothing is known here about the heads of a model: the models of the shipped recipes bring their key tables along. Names
and shapes decide; a model is only ever built on the meta device, without values.
"""

import json
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from detectron2.utils.registry import locate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.checkpoint.focalnet import focalnet_prefix, other_backbone
from focalnet_d2.checkpoint.focalnet_architecture import FocalNetArchitecture, read_architecture
from focalnet_d2.checkpoint.layout import Layout, Renamed, RequiredSetting, State, apply_table
from focalnet_d2.checkpoint.loading import check_checkpoint, layouts_of
from focalnet_d2.checkpoint.reading import read_checkpoint
from focalnet_d2.checkpoint.selection import AVERAGED, UNNAMED, Weights, select_weights
from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import list_recipes, load_recipe
from focalnet_d2.utils.text import counted, some_of

FAMILIES = {
    "MaskRCNN": "Mask R-CNN",
    "CascadeMaskRCNN": "Cascade Mask R-CNN",
    "SparseRCNN": "Sparse R-CNN",
    "ImageClassifier": "classifier",
    "FocalNet": "backbone",
}  # other models are called by the name of their class
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass
class Inspection:
    """What was found out about a file.

    Args:
        source: the file.
        family: kind of model, such as "DINO"; "backbone" for a FocalNet without a head.
        layout: the code base whose names it has.
        backbone: what shapes tell about its FocalNet.
        details: what else shapes tell, in words.
        parameters: learned numbers, those of a tensor with several names once.
        tensors: entries of the file.
        averaged: its entry of averaged weights (EMA) beside the others; "" without.
        class_rows: rows of its class heads without the extra one for no object; 0 if it has none.
        class_counts: numbers of classes a model may have to load it.
        class_names: names of the rows (None: a row without class), or None: unknown.
        settings: what the weights go with and no shape shows.
        fits: shipped recipes whose model it fills.
        starts: other shipped recipes that can start from its backbone.
        refused: shipped recipes of the family and size that it does not fit -> why.
    """

    source: str
    family: str
    layout: str
    backbone: FocalNetArchitecture
    details: list[str]
    parameters: int
    tensors: int
    averaged: str
    class_rows: int = 0
    class_counts: list[int] = field(default_factory=list)
    class_names: list[str | None] | None = None
    settings: list[RequiredSetting] = field(default_factory=list)
    fits: list[str] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            ("family", self.family),
            ("layout", self.layout),
            ("holds", ", ".join(self.details)),
            ("parameters", f"{self.parameters:,} in {self.tensors} tensors"),
            ("averaged", f"has averaged weights too ({self.averaged})" if self.averaged else "no averaged weights"),
            ("classes", self._classes()),
            ("goes with", ", ".join(map(_say_setting, self.settings)) or "nothing that shapes do not show"),
            ("fits", ", ".join(self.fits) or "no shipped recipe"),
            *(("but not", f"{name}: {reason}") for name, reason in self.refused.items() if not self.fits),
            ("can start", ", ".join(self.starts) or "no other shipped recipe"),
        ]
        indent = " " * 14
        wrapped = [
            textwrap.fill(f"  {title:<10}  {text}", 120, subsequent_indent=indent, break_on_hyphens=False)
            for title, text in lines
        ]
        return "\n".join([self.source, *wrapped])

    def _classes(self) -> str:
        if not self.class_rows:
            return "none"
        names = [name for name in self.class_names or [] if name is not None]
        others = ", ".join(map(str, self.class_counts[1:]))
        also = f", also for models of {others} classes" if others else ""
        return f"{self.class_rows} rows{also}: {some_of(names) or 'names unknown'}"


def _say_setting(setting: RequiredSetting) -> str:
    known = f"model.{setting.path}={setting.value}"
    return known if setting.value is not None else f"model.{setting.path}=? ({setting.reason})"


def inspect_checkpoint(checkpoint: str | os.PathLike | Mapping[str, Any], *, entry: str = "") -> Inspection:
    """What a file, or what `read_checkpoint` made of one, is and what it is good for.

    Nothing is built but the models of shipped recipes, whatever the file names.

    Args:
        entry: the entry of the file that holds the weights, where there are several.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, holds no weights, or no FocalNet in any layout known here.
    """
    is_content = isinstance(checkpoint, Mapping)
    content = checkpoint if is_content else read_checkpoint(checkpoint, header_only=True)
    weights = select_weights(content, "the checkpoint" if is_content else str(checkpoint), entry=entry)
    model, layout = _recognize(weights)
    found = _describe(weights, _model_of_size(weights, model, layout), layout)
    found.averaged = next((name for name in AVERAGED if isinstance(content.get(name), Mapping)), "")
    _try_recipes(found, weights, type(model))
    return found


# What it is


@cache
def _recipe(name: str) -> DictConfig:
    return load_recipe(name)


@cache
def _meta_model(recipe: str) -> nn.Module:
    with torch.device("meta"):
        return build(_recipe(recipe).model, "model")


def _is_for(recipe: str, model_class: type) -> bool:
    return _class_of(_recipe(recipe).model) is model_class


def _class_of(node: Mapping[str, Any]) -> Any:
    target = node["_target_"]
    return locate(target) if isinstance(target, str) else target


def _one_of_each_family() -> Iterator[nn.Module]:
    """A model of every kind that the names of the shipped recipes begin with, a small one where there is."""
    recipes = {}
    for name in sorted(list_recipes(), key=lambda name: "_mini_" not in name):
        recipes.setdefault(name.partition("_focalnet_")[0], name)
    return map(_meta_model, recipes.values())


def _recipes_of_size(architecture: FocalNetArchitecture) -> list[str]:
    """Shipped recipes whose FocalNet has the file's width and depths.

    To load all recipes takes seconds, so only those are whose name says the size, or none that is published.
    """
    words = {variant.split("_")[0] for variant, flags in FOCALNET_VARIANTS.items() if _has_depths(architecture, flags)}
    published = {variant.split("_")[0] for variant in FOCALNET_VARIANTS}
    named = [name for name in list_recipes() if published.intersection(name.split("_")) == words]
    nodes = {name: focalnet_node(_recipe(name).model) for name in named}
    return [name for name, node in nodes.items() if node is not None and _has_depths(architecture, node)]


def _has_depths(architecture: FocalNetArchitecture, flags: Mapping[str, Any]) -> bool:
    return (architecture.embed_dim, architecture.depths) == (flags["embed_dim"], tuple(flags["depths"]))


def _recognize(weights: Weights) -> tuple[nn.Module, Layout]:
    """A model of the family on the meta device, its sizes aside, and the layout; a FocalNet if it is no other.

    Where families share a layout, it is the one of whose heads the file has most.
    """
    names = list(weights.tensors)
    if other := other_backbone(names):
        raise ValueError(f"{weights.source} holds a {other} and not a FocalNet: nothing here can load it.")
    noted = weights.metadata.get("model")
    found = [
        (model, layout)
        for model in _one_of_each_family()
        if noted in (None, type(model).__name__)
        and (layout := _first_that_recognizes(model.layouts, names, model)) is not None
    ]
    if found:
        return max(found, key=lambda candidate: _share_of_heads(weights, *candidate))
    with torch.device("meta"):
        model = FocalNet()
    layout = _first_that_recognizes(layouts_of(model), names, model)
    if layout is None:
        raise ValueError(f"{weights.source} has no layout that is known here; it holds {counted(names)}.")
    return model, layout


def _first_that_recognizes(layouts: Sequence[Layout], names: Sequence[str], model: nn.Module) -> Layout | None:
    state = model.state_dict()
    return next((layout for layout in layouts if layout.recognize(names, state)), None)


def _share_of_heads(weights: Weights, model: nn.Module, layout: Layout) -> float:
    """How much of what a model has beside its FocalNet is in a file."""
    tensors = _renamed(weights, model, layout).tensors
    prefix = focalnet_prefix(model)
    heads = [name for name in model.state_dict() if not name.startswith(prefix)]
    return sum(name in tensors for name in heads) / len(heads)


def _renamed(weights: Weights, model: nn.Module, layout: Layout) -> Renamed:
    """The file in our names and forms."""
    renamed = apply_table(layout.rules(model, list(weights.tensors)), weights.tensors)
    layout.prepare(renamed.tensors)
    return renamed


def _model_of_size(weights: Weights, model: nn.Module, layout: Layout) -> nn.Module:
    """A shipped model of the same class with the file's FocalNet, else the model: a table may depend on flags."""
    architecture = _read_architecture(_renamed(weights, model, layout).tensors, weights, model)
    name = next((name for name in _recipes_of_size(architecture) if _is_for(name, type(model))), None)
    return model if name is None else _meta_model(name)


def _read_architecture(tensors: State, weights: Weights, model: nn.Module) -> FocalNetArchitecture:
    architecture = read_architecture(tensors, focalnet_prefix(model))
    if architecture is None:
        raise ValueError(f"{weights.source} is damaged: the stem or the first block of its FocalNet is missing.")
    return architecture


def _describe(weights: Weights, model: nn.Module, layout: Layout) -> Inspection:
    renamed = _renamed(weights, model, layout)
    tensors = renamed.tensors
    learned = [name for name in tensors if not name.endswith(_BUFFERS)]
    found = Inspection(
        source=weights.source,
        family=_family(model, renamed),
        layout=layout.name,
        backbone=_read_architecture(tensors, weights, model),
        details=layout.describe(tensors),
        parameters=sum(weights.tensors[renamed.origin[name]].numel() for name in learned),
        tensors=len(weights.tensors),
        averaged="",
        settings=list(layout.settings(model, tensors, weights.metadata)),
    )
    if layout.classes is not None and (rows := layout.classes.count(tensors)):
        names = weights.metadata.get("thing_classes") or layout.classes.names(rows)
        found.class_rows, found.class_names = rows, None if names is None else list(names)
        found.class_counts = [rows, *(classes for of, classes in layout.classes.selections if of == rows)]
    return found


def _family(model: nn.Module, renamed: Renamed) -> str:
    if isinstance(model, FocalNet) and renamed.skipped:
        return "an unknown model with a FocalNet"
    return FAMILIES.get(type(model).__name__, type(model).__name__)


# Which recipes it fits


def _try_recipes(found: Inspection, weights: Weights, model_class: type) -> None:
    """Fills `fits`, `starts` and `refused`."""
    content = {"model": weights.tensors, "metadata": weights.metadata}
    recipes = _recipes_of_size(found.backbone)
    for name in recipes:
        if _is_for(name, model_class):
            reason = _refusal(_meta_model(name), content)
            if reason is None:
                found.fits.append(name)
            else:
                found.refused[name] = reason.removeprefix(f"The checkpoint {UNNAMED} ").rstrip(".")
    starts = cache(lambda *options: _refusal(_meta_focalnet(options[0]), content, keep_settings=options[1]) is None)
    for name in recipes:
        architecture = _architecture(focalnet_node(_recipe(name).model))
        if name not in found.fits and starts(architecture, _recipe(name).train.keep_settings):
            found.starts.append(name)


def _refusal(model: nn.Module, content: Mapping[str, Any], keep_settings: bool = False) -> str | None:
    """Why a model cannot be filled from a file of its family; None if it can."""
    try:
        check_checkpoint(model, content, allow_nonfinite=True, keep_settings=keep_settings)
    except ValueError as error:
        return str(error)
    return None


def focalnet_node(node: Any) -> DictConfig | None:
    """The first FocalNet below a node of a recipe."""
    if not isinstance(node, DictConfig):
        return None
    if "_target_" in node and _class_of(node) is FocalNet:
        return node
    return next((inside for key in node if (inside := focalnet_node(node[key])) is not None), None)


def _architecture(node: DictConfig) -> str:
    """The arguments that make one FocalNet another, as JSON."""
    arguments = OmegaConf.to_container(node, resolve=True)
    training_only = ("_target_", "drop_path_rate", "drop_rate", "use_checkpoint", "frozen_stages")
    return json.dumps({name: value for name, value in arguments.items() if name not in training_only}, sort_keys=True)


@cache
def _meta_focalnet(architecture: str) -> FocalNet:
    with torch.device("meta"):
        return FocalNet(**json.loads(architecture))

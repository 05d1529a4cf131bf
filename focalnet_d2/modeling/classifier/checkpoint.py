"""Layouts of classifiers: Microsoft's released files, those of transformers and timm, and our own."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from focalnet_d2.checkpoint.focalnet import CLASSIFIERS, SIGNATURE
from focalnet_d2.checkpoint.focalnet_architecture import architecture_checks, focalnet_settings
from focalnet_d2.checkpoint.focalnet_names import ClassifierNames
from focalnet_d2.checkpoint.layout import ClassRows, Layout, RequiredSetting, Rule, State, holds, rename
from focalnet_d2.checkpoint.native import native_layout

FOCALNET = "backbone."
_CLASS_TENSORS = ("head.<weight|bias>",)
_IMAGENET_FIRST = {(21842, 1000): range(1000)}  # the released 22K heads have the classes of 1K first


def _layout(source: ClassifierNames) -> Layout:
    """A file of a whole classifier, all of which is loaded."""

    def rules(model: Any, names: Sequence[str]) -> tuple[Rule, ...]:
        last = len(model.backbone.depths) - 1
        norm = rename(source.norm, f"{FOCALNET}norm{last}.<>")
        return (norm, rename(source.head, "head.<>"), *source.rules(model, FOCALNET))

    def settings(model: nn.Module, state: State, metadata: Mapping[str, Any]) -> list[RequiredSetting]:
        return focalnet_settings(state, FOCALNET, source.flags)

    return Layout(
        source.name,
        recognize=lambda names, state: source.recognize(names) and holds(names, source.head),
        rules=rules,
        checks=architecture_checks(FOCALNET),
        settings=settings,
        prepare=source.prepare,
        restore=source.restore,
        container=source.container,
        classes=ClassRows(_CLASS_TENSORS, selections=_IMAGENET_FIRST),
    )


LAYOUTS = (
    *map(_layout, CLASSIFIERS),
    native_layout(
        *(FOCALNET + name for name in SIGNATURE),
        *_CLASS_TENSORS,
        focalnet=FOCALNET,
        checks=architecture_checks(FOCALNET),
        classes=ClassRows(_CLASS_TENSORS, selections=_IMAGENET_FIRST),
    ),
)

"""Writing a model in the layout of another code base: the inverse of loading.

The key tables are those of loading, read backwards. A file is given out only after the loader has accepted it for the
same model, so what is written can be read.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from focalnet_d2.utils.text import counted

from .focalnet import focalnet_prefix, is_output_norm
from .layout import Layout, Rule, State
from .loading import check_checkpoint, layouts_of, unmet_settings
from .writing import save_checkpoint, save_weights

SUFFIXES = (".pth", ".safetensors")


@dataclass
class ExportedState:
    """A model as a file of some code base would hold it.

    Args:
        layout: the code base.
        tensors: name in the file -> tensor; one that has several names stands under all of them.
        container: entry of a `.pth` file for the tensors; None: they are the file.
        notes: what is not as in the model, such as added rows.
    """

    layout: str
    tensors: dict[str, Tensor]
    container: str | None = "model"
    notes: list[str] = field(default_factory=list)

    def content(self) -> dict[str, Any]:
        """What `torch.save` writes to a `.pth` file."""
        return dict(self.tensors) if self.container is None else {self.container: self.tensors}

    def save(self, path: str | os.PathLike) -> None:
        """Writes `.pth` or `.safetensors`, completely or not at all; the latter has no container.

        Raises:
            ValueError: another ending.
        """
        save_as(path, self.content(), self.tensors)


def save_as(
    path: str | os.PathLike, content: Mapping[str, Any], tensors: State, metadata: Mapping[str, Any] | None = None
) -> None:
    """Writes `content` as `.pth`, or `tensors` and `metadata` as `.safetensors`, by the ending of the path.

    Raises:
        ValueError: another ending.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f"The name of {path} must end in {' or '.join(SUFFIXES)}, which tells the format to write.")
    if suffix == ".pth":
        save_checkpoint(path, content)
    else:
        save_weights(path, tensors, metadata)


def export_state(
    model: nn.Module, layout_name: str, *, class_names: Sequence[str] | None = None, keep_settings: bool = False
) -> ExportedState:
    """The model in a published layout.

    Args:
        model: any model that `load_checkpoint` can fill; a FocalNet alone gives the file of a backbone.
        layout_name: as messages and reports call it, such as "FocalNet-DINO"; only letters and digits count.
        class_names: the model's classes in order, where the layout has rows for others too.
        keep_settings: write it even if files of this layout go with other settings than the model's.

    Raises:
        ValueError: the model has no such layout; the layout has no place for a part of the model, or needs what the
            model does not have; or its files go with settings that the model does not have.
    """
    layout = _find_layout(model, layout_name)
    tensors = {name: value.detach() for name, value in model.state_dict().items()}
    if layout.backbone_only and focalnet_prefix(model):
        raise ValueError(
            f"A file of {layout.name} layout has no place for the heads of a {type(model).__name__}: export its "
            "backbone alone."
        )
    _check_settings(layout, model, tensors, keep_settings)
    notes = layout.restore(model, tensors, class_names)
    named, unplaced = apply_inverse(layout.rules(model, ()), tensors)
    if layout.backbone_only and (unplaced or not layout.recognize(list(named), tensors)):
        tensors = _without_output_norms(tensors, notes)
        named, unplaced = apply_inverse(layout.rules(model, ()), tensors)
    if unplaced:
        raise ValueError(f"A file of {layout.name} layout has no place for {counted(unplaced)} of the model.")
    exported = ExportedState(layout.name, {**named, **layout.constants(model)}, layout.container, notes)
    _check_readable(exported, model, class_names, keep_settings)
    return exported


def _find_layout(model: nn.Module, name: str) -> Layout:
    layouts = layouts_of(model)
    for layout in layouts:
        if _plain(layout.name) == _plain(name):
            return layout
    raise ValueError(
        f"A {type(model).__name__} cannot be written in the layout {name!r}; there are "
        f"{', '.join(dict.fromkeys(layout.name for layout in layouts))}."
    )


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _check_settings(layout: Layout, model: nn.Module, tensors: State, keep_settings: bool) -> None:
    unmet = unmet_settings(layout.settings(model, tensors, {}), model)
    if unmet and not keep_settings:
        wanted = ", ".join(f"{setting.path} {setting.value} (here {value})" for setting, value in unmet)
        raise ValueError(
            f"Whoever reads a file of {layout.name} layout takes it to go with {wanted}: load the weights into a model "
            "with those settings, or keep the settings and give them along with the file."
        )


def apply_inverse(rules: Sequence[Rule], state: State) -> tuple[dict[str, Tensor], list[str]]:
    """Our names -> the file's by a key table read backwards, and the names that it has no place for.

    Tensors of any shape stay as they are.
    The first rule that leads to a name of ours decides; where it is a copy, all of the copies are written.
    """
    inverses = [inverse for rule in rules if (inverse := rule.inverse()) is not None]
    named, unplaced = {}, []
    for name, tensor in state.items():
        found = [rule for rule in inverses if rule.matches(name)]
        if not found:
            unplaced.append(name)
        for rule in found[:1] + [rule for rule in found[1:] if rule.is_copy and found[0].is_copy]:
            named[rule.apply(name)] = tensor
    return named, unplaced


def _without_output_norms(tensors: State, notes: list[str]) -> dict[str, Tensor]:
    norms = [name for name in tensors if is_output_norm(name, "")]
    notes.append(f"left out are {counted(norms)}, the norms of the outputs, which such a file does not have")
    return {name: tensor for name, tensor in tensors.items() if name not in norms}


def _check_readable(
    exported: ExportedState, model: nn.Module, class_names: Sequence[str] | None, keep_settings: bool
) -> None:
    """Raises ValueError if the loader would not take the file for this model in this layout."""
    report = check_checkpoint(
        model,
        exported.content(),
        class_names=class_names,
        keep_settings=keep_settings,
        allow_nonfinite=True,  # values are those of the model
    )
    if report.layout != exported.layout:
        raise ValueError(
            f"A file of {exported.layout} layout holds more than a {type(model).__name__} has; written like this it "
            f"would be read as one of {report.layout} layout."
        )

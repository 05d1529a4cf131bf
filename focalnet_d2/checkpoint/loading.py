"""Loading a checkpoint of any known layout into a model: all of it, or an error that names the cause.

Everything is decided before the first value is copied, so an error leaves the model as it was.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.utils.text import counted, some_of

from .class_matching import ClassChoice, drop_setting, known_names, match_rows, names_to_match, strange_names
from .classes import RowMap, fit_class_rows
from .completeness import check_complete, check_conflicts, check_no_tensor, check_types
from .focalnet import (
    backbone_layouts,
    detector_layouts,
    focalnet_prefix,
    is_output_norm,
    other_backbone,
    published_model,
)
from .focalnet_architecture import FOCALNET_SETTINGS, architecture_checks, recorded_settings
from .kernel_inflation import added_kernels, grow
from .layout import (
    ArchitectureCheck,
    ClassRows,
    Layout,
    Renamed,
    RequiredSetting,
    State,
    apply_table,
    drop,
    rename,
)
from .reading import read_checkpoint
from .report import LoadReport
from .selection import UNNAMED, Weights, how_to_choose, select_weights
from .stem_inflation import inflate_stem
from .values import nonfinite_names


@dataclass(frozen=True)
class Options:
    """The choices of `load_checkpoint`."""

    keep_settings: bool = False
    backbone_only: bool = False
    classes: ClassChoice = field(default_factory=ClassChoice)
    new_channels: Sequence[int] | None = None


def load_checkpoint(
    model: nn.Module,
    checkpoint: str | os.PathLike | Mapping[str, Any],
    *,
    new_classes: bool = False,
    keep_settings: bool = False,
    backbone_only: bool = False,
    class_names: Sequence[str] | None = None,
    other_class_names: str = "by_name",
    class_changes: ClassChanges | None = None,
    new_channels: Sequence[int] | None = None,
    ema: bool = False,
    entry: str = "",
    allow_nonfinite: bool = False,
    complete: bool = False,
    source: str = UNNAMED,
) -> LoadReport:
    """Fills a model from a checkpoint whose layout is recognised by its names.

    Known are the classifiers of Microsoft, transformers and timm, of which any model takes the backbone, and what
    `model.layouts` adds: the published files of that kind of model, and our own.

    Args:
        model: the model, with real tensors.
        checkpoint: path of a file, or what `read_checkpoint` returned.
        new_classes: the class list has changed: class rows stay fresh, or are taken by name where both lists are known.
        keep_settings: what shapes cannot show (position encoding, modulator, padding) stays as the model has it.
        backbone_only: fill the model's FocalNet alone, from a file of any of these kinds of model.
        class_names: the model's classes in order.
        other_class_names: what becomes of a file that knows other class names: "refuse"; "by_name" takes the rows
            of the model's classes, if the file has all of them; "by_position" takes the rows as they are.
        class_changes: classes of the file that the model has under another name, has as one, or has no more; see
            `match_rows`.
        new_channels: the images have other channels than red, green and blue, and the stem of a file for these becomes
            one for them (`stem_inflation.py`): where the three are among them, () where that is unknown; None: the
            file must be for the model's channels.
        ema: take the averaged weights of the file.
        entry: the entry of the file that holds the weights, or what their names begin with, where there are several.
        allow_nonfinite: load weights that are NaN or infinite, too; the report names them.
        complete: refuse a file that leaves a part of the model as it was, such as a backbone alone.
        source: what messages call a checkpoint that was read already.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read or does not fit; the model is unchanged.
    """
    weights = _weights(model, checkpoint, ema, entry, source)
    _refuse_meta(model, weights)
    classes = ClassChoice(class_names, new_classes, other_class_names, class_changes or ClassChanges())
    tensors, report = _plan(model, weights, Options(keep_settings, backbone_only, classes, new_channels))
    if complete and report.missing:
        raise ValueError(
            f"The checkpoint {weights.source} ({report.layout}) holds only a part of the model: "
            f"{counted(report.missing)} would stay random; train from it, or give a checkpoint of the whole model to "
            "evaluate."
        )
    state = _unwrapped(model).state_dict()
    _check_finite(tensors, state, report, allow_nonfinite)
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(tensor)
    return report


def check_checkpoint(
    model: nn.Module,
    checkpoint: str | os.PathLike | Mapping[str, Any],
    *,
    new_classes: bool = False,
    keep_settings: bool = False,
    backbone_only: bool = False,
    class_names: Sequence[str] | None = None,
    class_changes: ClassChanges | None = None,
    ema: bool = False,
    entry: str = "",
    allow_nonfinite: bool = False,
) -> LoadReport:
    """The report that `load_checkpoint` would give, or its error; nothing is copied.

    Both sides may be on the meta device: shapes and types are enough. With `allow_nonfinite`, values are not looked at.
    """
    classes = ClassChoice(class_names, new_classes, changes=class_changes or ClassChanges())
    options = Options(keep_settings, backbone_only, classes)
    tensors, report = _plan(model, _weights(model, checkpoint, ema, entry), options)
    if not allow_nonfinite:
        _check_finite(tensors, _unwrapped(model).state_dict(), report, allow_nonfinite)
    return report


def checkpoint_metadata(model: nn.Module, class_names: Sequence[str] | None = None) -> dict[str, Any]:
    """What to save as `metadata` beside `model`, so that loading can compare what shapes do not show."""
    model = _unwrapped(model)
    paths = [path for layout in layouts_of(model) for path in layout.recorded_settings]
    settings = {path: value for path in paths if (value := _attribute(model, path)) is not _ABSENT}
    name = type(model).__name__.removeprefix("FSDP")  # which a sharded model's class has
    metadata = {"format": "focalnet_d2", "model": name, "settings": settings}
    return metadata if class_names is None else {**metadata, "thing_classes": list(class_names)}


def _weights(
    model: nn.Module, checkpoint: str | os.PathLike | Mapping[str, Any], ema: bool, entry: str, source: str = UNNAMED
) -> Weights:
    names = list(_unwrapped(model).state_dict())
    if isinstance(checkpoint, Mapping):
        return select_weights(checkpoint, source, ema=ema, entry=entry, model_names=names)
    content = read_checkpoint(checkpoint)
    return select_weights(content, str(checkpoint), ema=ema, entry=entry, model_names=names)


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def _refuse_meta(model: nn.Module, weights: Weights) -> None:
    if any(value.is_meta for value in model.state_dict().values()):
        raise ValueError(
            f"The checkpoint {weights.source} cannot be loaded into a model on the meta device: use model.to_empty "
            "first."
        )
    without = [name for name, value in weights.tensors.items() if value.is_meta]
    if without:
        raise ValueError(
            f"The checkpoint {weights.source} holds tensors without values (meta device): {counted(without)}."
        )


def _check_finite(tensors: State, state: State, report: LoadReport, allow: bool) -> None:
    """Refuses weights that are NaN or infinite, or would be in the model's type; noted where they are allowed."""
    names = nonfinite_names(tensors, state)
    if names and not allow:
        raise ValueError(
            f"The checkpoint {report.source} holds NaN or infinite weights: {counted(names)}; give an earlier one, or "
            "set train.allow_nonfinite=True (in Python allow_nonfinite=True) to load it all the same."
        )
    if names:
        report.notes.append(f"NaN or infinite are {counted(names)}")


# Which layout


def _own_layout(prefix: str | None) -> Layout:
    """Files that use the model's own names, as Detectron2 saves them."""
    constants = "a constant that the model makes itself"
    return Layout(
        "Detectron2",
        recognize=lambda names, state: 2 * sum(name in state for name in names) >= len(names),
        rules=lambda model, names: (
            drop("pixel_<mean|std>", constants),
            drop("*.anchor_generator.cell_anchors.#", constants),
            rename("*"),
        ),
        checks=() if prefix is None else architecture_checks(prefix),
        settings=lambda model, state, metadata: [] if prefix is None else recorded_settings(state, metadata, prefix),
        recorded_settings=() if prefix is None else tuple(prefix + name for name in FOCALNET_SETTINGS),
    )


def layouts_of(model: nn.Module, backbone_only: bool = False) -> list[Layout]:
    """The layouts that the model may be loaded from, the first that recognises a file first."""
    prefix = focalnet_prefix(model)
    if backbone_only:
        if prefix is None:
            raise ValueError(f"The {type(model).__name__} has no FocalNet: set train.backbone_only=False.")
        return [*backbone_layouts(prefix), *detector_layouts(prefix)]
    layouts = getattr(model, "layouts", None)
    own = [_own_layout(prefix)] if layouts is None else list(layouts)
    if prefix is None:
        return own
    backbone = backbone_layouts(prefix)
    return [*backbone, *detector_layouts(prefix), *own] if prefix == "" else [*own, *backbone]


def _recognize(model: nn.Module, weights: Weights, state: State, backbone_only: bool) -> Layout:
    names, layouts, prefix = list(weights.tensors), layouts_of(model, backbone_only), focalnet_prefix(model)
    if prefix is not None and (other := other_backbone(names)):
        raise ValueError(
            f"The checkpoint {weights.source} holds a {other} and not a FocalNet, which {type(model).__name__} has here"
            ": give a file of a model with the same backbone."
        )
    for layout in layouts:
        if layout.recognize(names, state):
            return layout
    for layout in detector_layouts(prefix) if prefix else []:
        if layout.recognize(names, state):
            held = weights.metadata.get("model") or published_model(names)
            raise ValueError(
                f"The checkpoint {weights.source} ({layout.name} layout) holds {_a(held) if held else 'another model'} "
                f"and not {_a(type(model).__name__)}; to take its backbone alone, set train.backbone_only=True."
            )
    raise ValueError(
        f"The checkpoint {weights.source} has no layout that {type(model).__name__} can load "
        f"({', '.join(layout.name for layout in layouts)}); it holds {counted(names)}"
        f"{_prefix_remedy(names, lambda plain: any(layout.recognize(plain, state) for layout in layouts))}."
    )


def _prefix_remedy(names: Sequence[str], is_known: Callable[[list[str]], bool]) -> str:
    """What to set if the names are known without something that all of them begin with; "" otherwise."""
    words = names[0].split(".")
    for depth in range(1, len(words)):
        start = ".".join(words[:depth]) + "."
        if not all(name.startswith(start) for name in names):
            return ""
        if is_known([name.removeprefix(start) for name in names]):
            return f", whose names all begin with {start!r}: {how_to_choose(start[:-1])}"
    return ""


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "AEIO" else f"a {name}"


# What goes where


def _plan(model: nn.Module, weights: Weights, options: Options) -> tuple[dict[str, Tensor], LoadReport]:
    """The tensors to copy, by the model's names, and the report; raises ValueError if anything does not fit."""
    model = _unwrapped(model)
    state = model.state_dict()
    layout = _recognize(model, weights, state, options.backbone_only)
    rules = layout.rules(model, list(weights.tensors))
    renamed = apply_table(rules, weights.tensors)
    tensors = renamed.tensors
    report = LoadReport(
        weights.source, layout.name, skipped={**weights.skipped, **renamed.skipped}, taken=weights.taken
    )
    report.resized |= layout.prepare(tensors) | layout.fill(model, tensors)
    check_types(tensors, state, weights.source, layout.name)
    report.content = ", ".join(layout.describe(tensors))
    inflate_stem(tensors, state, focalnet_prefix(model), options.new_channels, report)
    _compare_architectures(layout.checks, tensors, state, weights.source)
    settings = layout.settings(model, tensors, weights.metadata)
    report.notes += _check_settings(settings, model, weights.source, layout.name, options)
    check_conflicts(renamed, weights.source)
    if layout.classes is not None:
        row_map = _class_rows(layout.classes, tensors, state, weights, options.classes)
        report.resized |= fit_class_rows(tensors, state, layout.classes, row_map)
        report.notes += [row_map.note] if row_map.note else []
    elif not layout.backbone_only:
        names_to_match(weights.metadata.get("thing_classes"), options.classes, weights.source)
        if options.classes.is_new:
            report.notes.append("new_classes changes nothing: no tensor of this model is known to have class rows")
    may_be_missing: set[str] = set()
    if layout.backbone_only:
        may_be_missing = _fit_backbone(model, tensors, state, renamed, report)
    report.missing = [name for name in state if name not in tensors]
    check_no_tensor(rules, weights, report.missing, layout.name)
    check_complete(renamed, tensors, state, may_be_missing, weights.source, layout.name)
    report.loaded = list(tensors)
    return tensors, report


def _compare_architectures(checks: Sequence[ArchitectureCheck], tensors: State, state: State, source: str) -> None:
    pairs = [(check, check.of(tensors), check.of(state)) for check in checks]
    wrong = [(check, a, b) for check, a, b in pairs if a is not None and b is not None and not check.fits(a, b)]
    if wrong:
        holds = ", ".join(check.say(a) for check, a, _ in wrong)
        has = ", ".join(check.say(b) for check, _, b in wrong)
        overrides = " ".join(check.override.format(check.show(a)) for check, a, _ in wrong if check.override)
        advice = f" (to fit the file: {overrides})" if overrides else ""
        raise ValueError(
            f"The checkpoint {source} does not fit the model: it holds {holds}; the model has {has}{advice}."
        )


_ABSENT = object()


def _attribute(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = getattr(model, name, _ABSENT)
    return model


def unmet_settings(settings: Sequence[RequiredSetting], model: nn.Module) -> list[tuple[RequiredSetting, Any]]:
    """The settings that the model has otherwise, and how it has them; unsettled ones are never among them."""
    values = [(setting, _attribute(model, setting.path)) for setting in settings if setting.value is not None]
    return [(setting, value) for setting, value in values if value is not _ABSENT and value != setting.value]


def _check_settings(
    settings: Sequence[RequiredSetting], model: nn.Module, source: str, layout: str, options: Options
) -> list[str]:
    """Notes about settings that stay the model's; raises if the weights need others and may not be overruled."""
    notes, wrong = [], unmet_settings(settings, model)
    for setting in settings:
        value = _attribute(model, setting.path)
        if value is _ABSENT:
            notes.append(f"{setting.path} could not be checked: the model has no such setting")
        elif setting.value is None:
            notes.append(f"{setting.path} could not be checked and stays {value}: {setting.reason}")
        elif value != setting.value:
            notes.append(f"{setting.path} stays {value}, the weights go with {setting.value}")
    if wrong and not options.keep_settings:
        wanted = " ".join(f"model.{setting.path}={setting.value}" for setting, _ in wrong)
        present = ", ".join(f"{setting.path.rpartition('.')[2]} {value}" for setting, value in wrong)
        raise ValueError(
            f"The checkpoint {source} ({layout}) goes with settings that the model does not have ({present}): "
            f"set {wanted}, or train.keep_settings=True to keep the model's."
        )
    return notes


def _class_rows(classes: ClassRows, tensors: State, state: State, weights: Weights, choice: ClassChoice) -> RowMap:
    counts = [classes.count(part) for part in (tensors, state)]
    known = known_names(classes, counts[0], weights.metadata.get("thing_classes"))
    names = names_to_match(known, choice, weights.source)
    row_map = match_rows(
        classes, *counts, file_names=known, model_names=names, new_classes=choice.is_new, changes=choice.changes
    )
    if row_map is None:
        what = f"The checkpoint {weights.source} has {counts[0]} classes and the model {counts[1]}"
        if names is not None and (strange := strange_names(known, choice)):
            raise ValueError(
                f"{what}, among them {some_of(strange)}, which the file does not know: set train.new_classes=True to "
                f"train on them, or leave them out of the data with {drop_setting(strange)}."
            )
        raise ValueError(
            f"{what}: set model.num_classes={counts[0]} to load the file's own class list, or train.new_classes=True "
            "to start with a new one."
        )
    return row_map


def _fit_backbone(
    model: nn.Module, tensors: dict[str, Tensor], state: State, renamed: Renamed, report: LoadReport
) -> set[str]:
    """Grows kernels and levels, sets unused output norms aside; returns the names that may stay fresh."""
    prefix = focalnet_prefix(model)
    assert prefix is not None  # without a FocalNet there is no layout of a backbone
    for name in [name for name in tensors if name not in state and is_output_norm(name, prefix)]:
        del tensors[name]
        report.skipped[renamed.origin[name]] = "the model does not use this output"
    heads = {name for name in state if not name.startswith(prefix) or is_output_norm(name, prefix)}
    may_be_missing = heads | added_kernels(tensors, state, prefix)
    report.resized |= grow(tensors, state, prefix)
    normalized = _attribute(model, prefix + "normalize_modulator") is True
    if normalized and any(name.endswith("modulation.f.weight") for name in report.resized):
        report.notes.append("added focal levels also divide the modulator by more: outputs change until trained")
    return may_be_missing

"""Whether what a key table made of a file is the whole model: every tensor once, of its shape and kind."""

from collections.abc import Collection, Sequence

import torch

from focalnet_d2.utils.text import counted

from .layout import Renamed, Rule, State, apply_table
from .selection import Weights
from .values import unfit_types


def check_conflicts(renamed: Renamed, source: str) -> None:
    """Raises ValueError if names of one tensor hold different values."""
    for first, second, otherwise in renamed.conflicts:
        raise ValueError(
            f"The checkpoint {source} holds different values under {first} and {second}, which are one tensor in this "
            f"model; {otherwise}."
        )


def check_types(tensors: State, state: State, source: str, layout: str) -> None:
    """Raises ValueError if the types of the model would cut values of the file."""
    if wrong := unfit_types(tensors, state):
        raise ValueError(
            f"The checkpoint {source} ({layout}) holds values that the model's types would cut: {counted(wrong)}; save "
            "the weights as floating-point numbers."
        )


def check_no_tensor(rules: Sequence[Rule], weights: Weights, missing: Collection[str], layout: str) -> None:
    """Raises ValueError for something else in the place of a tensor that the model needs."""
    others = apply_table(rules, dict.fromkeys(weights.skipped, torch.empty(0, device="meta"))).origin
    wrong = [f"{others[name]}: {weights.skipped[others[name]]}" for name in missing if name in others]
    if wrong:
        raise ValueError(
            f"The checkpoint {weights.source} ({layout}) holds something else under names of tensors: "
            f"{counted(wrong)}; save dense tensors there."
        )


def check_complete(
    renamed: Renamed, tensors: State, state: State, may_be_missing: set[str], source: str, layout: str
) -> None:
    """Raises ValueError for names that only the file or only the model has, and for shapes that differ."""
    unknown = renamed.unexpected + [renamed.origin[name] for name in tensors if name not in state]
    missing = [name for name in state if name not in tensors and name not in may_be_missing]
    shapes = [
        f"{name} {tuple(tensor.shape)} for {tuple(state[name].shape)}"
        for name, tensor in tensors.items()
        if name in state and tensor.shape != state[name].shape
    ]
    problems = [
        f"{what} {counted(names)}"
        for what, names in (
            ("names the model does not have:", unknown),
            ("names missing in the file:", missing),
            ("shapes that differ:", shapes),
        )
        if names
    ]
    if problems:
        raise ValueError(f"The checkpoint {source} ({layout}) does not fit the model: {'; '.join(problems)}.")

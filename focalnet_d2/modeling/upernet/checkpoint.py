"""Layouts of UPerNet checkpoints: mmsegmentation's files and our own, which have the same names.

Ours note the settings of their backbone; mmsegmentation's follow from that code base.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from focalnet_d2.checkpoint.focalnet import focalnet_rules
from focalnet_d2.checkpoint.focalnet_architecture import (
    FOCALNET_SETTINGS,
    architecture_checks,
    focalnet_settings,
    mm_flags,
    recorded_settings,
)
from focalnet_d2.checkpoint.layout import (
    ArchitectureCheck,
    ClassRows,
    Layout,
    RequiredSetting,
    State,
    count_of,
    holds,
    length_of,
    rename,
)
from focalnet_d2.data.datasets import ADE20K_CLASSES

FOCALNET = "backbone."
_CONV = "<conv.weight|bn.weight|bn.bias|bn.running_mean|bn.running_var|bn.num_batches_tracked>"
_WB = "<weight|bias>"

_HEAD_RULES = (
    rename(f"decode_head.psp_modules.#.1.{_CONV}"),
    rename(f"decode_head.<bottleneck|fpn_bottleneck>.{_CONV}"),
    rename(f"decode_head.<lateral_convs|fpn_convs>.#.{_CONV}"),
    rename(f"auxiliary_head.convs.0.{_CONV}"),
    rename(f"<decode_head|auxiliary_head>.conv_seg.{_WB}"),
)
CHECKS = (
    *architecture_checks(FOCALNET),
    ArchitectureCheck(count_of("decode_head.psp_modules"), "{} sizes of pooling", usual=4),
    ArchitectureCheck(length_of("decode_head.conv_seg.weight", 1), "width {}", "model.decode_head.dim={}", usual=512),
    ArchitectureCheck(
        length_of("auxiliary_head.conv_seg.weight", 1), "width {} in the auxiliary head",
        "model.auxiliary_head.dim={}", usual=256,
    ),
)  # fmt: skip


def _settings(model: nn.Module, state: State, metadata: Mapping[str, Any]) -> list[RequiredSetting]:
    if "settings" in metadata:
        return recorded_settings(state, metadata, FOCALNET)
    return focalnet_settings(state, FOCALNET, mm_flags)


LAYOUTS = (
    Layout(
        "mmsegmentation",
        recognize=lambda names, state: holds(names, "decode_head.psp_modules.#.1.*", "decode_head.fpn_bottleneck.*"),
        rules=lambda model, names: (*focalnet_rules("backbone.", FOCALNET), *_HEAD_RULES),
        checks=CHECKS,
        settings=_settings,
        classes=ClassRows(
            (f"<decode_head|auxiliary_head>.conv_seg.{_WB}",),
            lambda rows: list(ADE20K_CLASSES) if rows == len(ADE20K_CLASSES) else None,
        ),
        recorded_settings=tuple(FOCALNET + name for name in FOCALNET_SETTINGS),
        container="state_dict",
    ),
)

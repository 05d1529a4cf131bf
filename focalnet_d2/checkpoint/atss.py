"""Layouts of ATSS checkpoints: mmdetection's files and our own."""

from .focalnet import focalnet_rules
from .focalnet_facts import FOCALNET_SETTINGS, comparable_facts, focalnet_settings, mm_flags, recorded_settings
from .layout import ClassRows, Fact, Layout, count_of, holds, length_of, rename
from .mmdetection import coco_names, fpn_rules

FOCALNET = "backbone.bottom_up."
_WB = "<weight|bias>"

_RULES = (
    *focalnet_rules("backbone.", FOCALNET),
    *fpn_rules(levels=(3, 4, 5)),
    rename(f"neck.fpn_convs.3.conv.{_WB}", "backbone.top_block.p6.<>"),
    rename(f"neck.fpn_convs.4.conv.{_WB}", "backbone.top_block.p7.<>"),
    rename("bbox_head.<cls|reg>_convs.#.conv.weight"),
    rename(f"bbox_head.<cls|reg>_convs.#.gn.{_WB}"),
    rename(f"bbox_head.<atss_cls|atss_reg|atss_centerness>.{_WB}"),
    rename("bbox_head.scales.#.scale"),
)

FACTS = (
    *comparable_facts(FOCALNET),
    Fact(count_of("bbox_head.scales"), "{} levels", usual=5),
    Fact(length_of("bbox_head.atss_cls.weight", 1), "width {}", "model.bbox_head.dim={}", usual=256),
    Fact(count_of("bbox_head.cls_convs"), "towers of {} convolutions", "model.bbox_head.num_convs={}", usual=4),
)
_CLASS_TENSORS = (f"bbox_head.atss_cls.{_WB}",)

LAYOUTS = (
    Layout(
        "mmdetection",
        recognise=lambda names, state: holds(names, "bbox_head.atss_cls.weight", "neck.lateral_convs.*"),
        rules=lambda model, names: _RULES,
        facts=FACTS,
        settings=lambda model, state, metadata: focalnet_settings(state, FOCALNET, mm_flags),
        classes=ClassRows(_CLASS_TENSORS, coco_names),
        container="state_dict",
    ),
    Layout(
        "focalnet_d2",
        recognise=lambda names, state: holds(names, "bbox_head.atss_cls.weight", "backbone.fpn_lateral#.weight"),
        rules=lambda model, names: (rename("*"),),
        facts=FACTS,
        settings=lambda model, state, metadata: recorded_settings(state, metadata, FOCALNET),
        classes=ClassRows(_CLASS_TENSORS),
        recorded_settings=tuple(FOCALNET + name for name in FOCALNET_SETTINGS),
    ),
)

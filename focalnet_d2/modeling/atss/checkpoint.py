"""Layouts of ATSS checkpoints: mmdetection's files and our own."""

from focalnet_d2.checkpoint.focalnet_architecture import architecture_checks
from focalnet_d2.checkpoint.layout import ArchitectureCheck, ClassRows, count_of, length_of, rename
from focalnet_d2.checkpoint.mmdetection import FOCALNET, coco_names, fpn_rules, mmdetection_layout
from focalnet_d2.checkpoint.native import native_layout

_WB = "<weight|bias>"

_RULES = (
    *fpn_rules(levels=(3, 4, 5)),
    rename(f"neck.fpn_convs.3.conv.{_WB}", "backbone.top_block.p6.<>"),
    rename(f"neck.fpn_convs.4.conv.{_WB}", "backbone.top_block.p7.<>"),
    rename("bbox_head.<cls|reg>_convs.#.conv.weight"),
    rename(f"bbox_head.<cls|reg>_convs.#.gn.{_WB}"),
    rename(f"bbox_head.<atss_cls|atss_reg|atss_centerness>.{_WB}"),
    rename("bbox_head.scales.#.scale"),
)

CHECKS = (
    *architecture_checks(FOCALNET),
    ArchitectureCheck(count_of("bbox_head.scales"), "{} levels", usual=5),
    ArchitectureCheck(length_of("bbox_head.atss_cls.weight", 1), "width {}", "model.bbox_head.dim={}", usual=256),
    ArchitectureCheck(
        count_of("bbox_head.cls_convs"), "towers of {} convolutions", "model.bbox_head.num_convs={}", usual=4
    ),
)
_CLASS_TENSORS = (f"bbox_head.atss_cls.{_WB}",)

LAYOUTS = (
    mmdetection_layout(
        "bbox_head.atss_cls.weight",
        "neck.lateral_convs.*",
        rules=_RULES,
        checks=CHECKS,
        classes=ClassRows(_CLASS_TENSORS, coco_names),
    ),
    native_layout(
        "bbox_head.atss_cls.weight",
        "backbone.fpn_lateral#.weight",
        focalnet=FOCALNET,
        checks=CHECKS,
        classes=ClassRows(_CLASS_TENSORS),
    ),
)

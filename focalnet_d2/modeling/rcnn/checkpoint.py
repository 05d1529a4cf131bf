"""Layouts of Mask R-CNN and Cascade Mask R-CNN files: mmdetection's and our own, which has Detectron2's names.

One table serves both detectors: the cascade's names have the stage where the other's have nothing. No weight is
permuted: in both code bases background is last, deltas are class by class, a cell's anchors stand in the same order.
"""

from collections.abc import Callable

from focalnet_d2.checkpoint.focalnet_architecture import architecture_checks
from focalnet_d2.checkpoint.layout import ArchitectureCheck, ClassRows, Rule, State, count_numbers, length_of, rename
from focalnet_d2.checkpoint.mmdetection import FOCALNET, coco_names, fpn_rules, mmdetection_layout
from focalnet_d2.checkpoint.native import native_layout

_WB = "<weight|bias>"
_NORM = "<weight|bias|running_mean|running_var|num_batches_tracked>"


def _head_rules(file_stage: str, model_stage: str) -> tuple[Rule, ...]:
    """Box and mask heads; the stage is empty or like `.#`."""
    boxes, masks = f"roi_head.bbox_head{file_stage}.", f"roi_head.mask_head{file_stage}."
    box_head, predictor, mask_head = (
        f"roi_heads.{name}{model_stage}." for name in ("box_head", "box_predictor", "mask_head")
    )
    return (
        *(rename(f"{boxes}shared_convs.{k}.conv.{_WB}", f"{box_head}conv{k + 1}.<>") for k in range(4)),
        *(rename(f"{boxes}shared_convs.{k}.bn.{_NORM}", f"{box_head}conv{k + 1}.norm.<>") for k in range(4)),
        *(rename(f"{boxes}shared_fcs.{k}.{_WB}", f"{box_head}fc{k + 1}.<>") for k in range(2)),
        rename(f"{boxes}fc_cls.{_WB}", f"{predictor}cls_score.<>"),
        rename(f"{boxes}fc_reg.{_WB}", f"{predictor}bbox_pred.<>"),
        *(rename(f"{masks}convs.{k}.conv.{_WB}", f"{mask_head}mask_fcn{k + 1}.<>") for k in range(4)),
        rename(f"{masks}upsample.{_WB}", f"{mask_head}deconv.<>"),
        rename(f"{masks}conv_logits.{_WB}", f"{mask_head}predictor.<>"),
    )


_MMDETECTION_RULES = (
    *fpn_rules((2, 3, 4, 5)),
    rename(f"rpn_head.rpn_conv.{_WB}", "proposal_generator.rpn_head.conv.<>"),
    rename(f"rpn_head.rpn_cls.{_WB}", "proposal_generator.rpn_head.objectness_logits.<>"),
    rename(f"rpn_head.rpn_reg.{_WB}", "proposal_generator.rpn_head.anchor_deltas.<>"),
    *_head_rules("", ""),
    *_head_rules(".#", ".#"),
)


# What shapes tell

_PREDICTOR = "roi_heads.box_predictor."


def _stages(state: State) -> int | None:
    """Stages of a cascade; 0: no cascade."""
    if not any(name.startswith(_PREDICTOR) for name in state):
        return None
    return 0 if f"{_PREDICTOR}cls_score.bias" in state else count_numbers(state, _PREDICTOR.rstrip("."))


def _detector(state: State) -> str | None:
    stages = _stages(state)
    return None if stages is None else "Cascade Mask R-CNN" if stages else "Mask R-CNN"


def _of_first_stage(part: str, name: str) -> Callable[[State], int | None]:
    """For a check: the rows of a tensor of the box or mask head; of a cascade, the first stage's."""
    return lambda state: length_of(f"roi_heads.{part}.0.{name}" if _stages(state) else f"roi_heads.{part}.{name}")(
        state
    )


def _for_all_classes(part: str, name: str, rows_per_class: int) -> Callable[[State], bool | None]:
    """For a check: whether a head has the same output for all classes."""

    def is_agnostic(state: State) -> bool | None:
        rows, scores = _of_first_stage(part, name)(state), _of_first_stage("box_predictor", "cls_score.bias")(state)
        return None if rows is None or scores is None else rows != rows_per_class * (scores - 1)

    return is_agnostic


def _has_masks(state: State) -> bool | None:
    return None if _stages(state) is None else any(name.startswith("roi_heads.mask_head.") for name in state)


_CHECKS = (
    *architecture_checks(FOCALNET),
    ArchitectureCheck(_detector, "a {}"),
    ArchitectureCheck(lambda state: _stages(state) or None, "{} stages", usual=3),
    ArchitectureCheck(_has_masks, "mask heads: {}", usual=True),
    ArchitectureCheck(
        _for_all_classes("box_predictor", "bbox_pred.bias", 4), "one box for all classes: {}", usual=False
    ),
    ArchitectureCheck(_for_all_classes("mask_head", "predictor.bias", 1), "one mask for all classes: {}", usual=False),
    ArchitectureCheck(length_of("backbone.fpn_lateral2.bias"), "width {}", "model.backbone.out_channels={}", usual=256),
    ArchitectureCheck(length_of("proposal_generator.rpn_head.objectness_logits.bias"), "{} anchors a cell", usual=3),
    ArchitectureCheck(_of_first_stage("box_head", "fc1.bias"), "box heads of width {}", usual=1024),
)


# Classes

_CLASSES = ClassRows(
    tuple(f"{_PREDICTOR}{stage}cls_score.{_WB}" for stage in ("", "#.")),
    names=coco_names,
    extra_rows=1,  # background
    blocks={
        f"roi_heads.{part}.{_WB}": rows
        for stage in ("", ".#")
        for part, rows in ((f"box_predictor{stage}.bbox_pred", 4), (f"mask_head{stage}.predictor", 1))
    },
)


LAYOUTS = (
    mmdetection_layout(
        "rpn_head.rpn_conv.weight", "roi_head.bbox_head.*", rules=_MMDETECTION_RULES, checks=_CHECKS, classes=_CLASSES
    ),
    native_layout(
        "proposal_generator.*", "roi_heads.box_predictor.*", focalnet=FOCALNET, checks=_CHECKS, classes=_CLASSES
    ),
)

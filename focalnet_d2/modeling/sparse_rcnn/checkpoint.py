"""Layouts of Sparse R-CNN checkpoints: mmdetection's files and our own."""

from focalnet_d2.checkpoint.focalnet_architecture import architecture_checks
from focalnet_d2.checkpoint.layout import ArchitectureCheck, ClassRows, count_of, length_of, rename
from focalnet_d2.checkpoint.mmdetection import FOCALNET, coco_names, fpn_rules, mmdetection_layout
from focalnet_d2.checkpoint.native import native_layout

_WB = "<weight|bias>"
_STAGE = "roi_head.bbox_head.#."
_STAGE_RULES = (
    rename("attention.attn.<in_proj_weight|in_proj_bias|out_proj.weight|out_proj.bias>", "attention.<>"),
    rename(f"<attention_norm|instance_interactive_conv_norm|ffn_norm>.{_WB}"),
    rename(f"instance_interactive_conv.<dynamic_layer|norm_in|norm_out|fc_layer|fc_norm>.{_WB}"),
    rename(f"ffn.layers.0.0.{_WB}", "ffn.layers.0.<>"),
    rename(f"ffn.layers.1.{_WB}"),
    rename("<cls|reg>_fcs.#.<weight|bias>"),
    rename(f"<fc_cls|fc_reg>.{_WB}"),
)

_RULES = (
    *fpn_rules(levels=(2, 3, 4, 5)),
    rename("rpn_head.<init_proposal_bboxes|init_proposal_features>.weight", "head.<>.weight"),
    *(rule.within(_STAGE, "head.stages.#.") for rule in _STAGE_RULES),
)

_FIRST = "head.stages.0."
CHECKS = (
    *architecture_checks(FOCALNET),
    ArchitectureCheck(length_of("head.init_proposal_bboxes.weight"), "{} proposals", "model.head.num_proposals={}"),
    ArchitectureCheck(count_of("head.stages"), "{} stages", "model.head.num_stages={}"),
    ArchitectureCheck(
        length_of("head.init_proposal_features.weight", 1), "width {}", "model.backbone.out_channels={}", usual=256
    ),
    ArchitectureCheck(
        length_of(f"{_FIRST}ffn.layers.0.bias"), "feed-forward width {}", "model.head.ffn_dim={}", usual=2048
    ),
    ArchitectureCheck(
        length_of(f"{_FIRST}instance_interactive_conv.norm_in.bias"),
        "dynamic width {}",
        "model.head.dynamic_dim={}",
        usual=64,
    ),
)
_CLASS_TENSORS = (f"head.stages.#.fc_cls.{_WB}",)

LAYOUTS = (
    mmdetection_layout(
        "rpn_head.init_proposal_bboxes.weight",
        "neck.lateral_convs.*",
        rules=_RULES,
        checks=CHECKS,
        classes=ClassRows(_CLASS_TENSORS, coco_names),
    ),
    native_layout(
        "head.init_proposal_bboxes.weight", focalnet=FOCALNET, checks=CHECKS, classes=ClassRows(_CLASS_TENSORS)
    ),
)

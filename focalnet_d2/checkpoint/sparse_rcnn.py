"""Layouts of Sparse R-CNN checkpoints: mmdetection's files and our own."""

from .focalnet import focalnet_rules
from .focalnet_facts import FOCALNET_SETTINGS, comparable_facts, focalnet_settings, mm_flags, recorded_settings
from .layout import ClassRows, Fact, Layout, count_of, holds, length_of, rename
from .mmdetection import coco_names, fpn_rules

FOCALNET = "backbone.bottom_up."
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
    *focalnet_rules("backbone.", FOCALNET),
    *fpn_rules(levels=(2, 3, 4, 5)),
    rename("rpn_head.<init_proposal_bboxes|init_proposal_features>.weight", "head.<>.weight"),
    *(rule.within(_STAGE, "head.stages.#.") for rule in _STAGE_RULES),
)

_FIRST = "head.stages.0."
FACTS = (
    *comparable_facts(FOCALNET),
    Fact(length_of("head.init_proposal_bboxes.weight"), "{} proposals", "model.head.num_proposals={}"),
    Fact(count_of("head.stages"), "{} stages", "model.head.num_stages={}"),
    Fact(length_of("head.init_proposal_features.weight", 1), "width {}", "model.backbone.out_channels={}", usual=256),
    Fact(length_of(f"{_FIRST}ffn.layers.0.bias"), "feed-forward width {}", "model.head.ffn_dim={}", usual=2048),
    Fact(
        length_of(f"{_FIRST}instance_interactive_conv.norm_in.bias"),
        "dynamic width {}",
        "model.head.dynamic_dim={}",
        usual=64,
    ),
)
_CLASS_TENSORS = (f"head.stages.#.fc_cls.{_WB}",)

LAYOUTS = (
    Layout(
        "mmdetection",
        recognise=lambda names, state: holds(names, "rpn_head.init_proposal_bboxes.weight", "neck.lateral_convs.*"),
        rules=lambda model, names: _RULES,
        facts=FACTS,
        settings=lambda model, state, metadata: focalnet_settings(state, FOCALNET, mm_flags),
        classes=ClassRows(_CLASS_TENSORS, coco_names),
        container="state_dict",
    ),
    Layout(
        "focalnet_d2",
        recognise=lambda names, state: holds(names, "head.init_proposal_bboxes.weight"),
        rules=lambda model, names: (rename("*"),),
        facts=FACTS,
        settings=lambda model, state, metadata: recorded_settings(state, metadata, FOCALNET),
        classes=ClassRows(_CLASS_TENSORS),
        recorded_settings=tuple(FOCALNET + name for name in FOCALNET_SETTINGS),
    ),
)

"""Layouts of Mask2Former checkpoints: the official files and our own.

The official names have had two forms: before their version 2 the pixel decoder's lacked `pixel_decoder.` and the
queries' content was called `static_query`. Which form a file has shows in its names, so `_metadata` is not needed.
"""

from collections.abc import Mapping
from typing import Any

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from torch import Tensor, nn

from focalnet_d2.checkpoint.focalnet import focalnet_rules
from focalnet_d2.checkpoint.focalnet_architecture import (  # fmt: skip
    architecture_checks,
    focalnet_settings,
    mask2former_flags,
)
from focalnet_d2.checkpoint.layout import (  # fmt: skip
    ArchitectureCheck,
    ClassRows,
    Layout,
    RequiredSetting,
    State,
    count_of,
    drop,
    holds,
    length_of,
    rename,
)
from focalnet_d2.checkpoint.native import native_layout
from focalnet_d2.data.datasets import ADE20K_CLASSES, ADE20K_THING_IDS

FOCALNET = "backbone."
_ATTENTION = "<sampling_offsets|attention_weights|value_proj|output_proj>.<weight|bias>"
_PROJECTIONS = "<in_proj_weight|in_proj_bias|out_proj.weight|out_proj.bias>"
_WB = "<weight|bias>"

_PIXEL_DECODER_RULES = (
    rename(f"input_proj.#.<0|1>.{_WB}"),
    rename("transformer.level_embed", "level_embed"),
    rename(f"transformer.encoder.layers.#.self_attn.{_ATTENTION}", "encoder.layers.#.self_attn.<>.<>"),
    rename(f"transformer.encoder.layers.#.<norm1|norm2|linear1|linear2>.{_WB}", "encoder.layers.#.<>.<>"),
    rename("adapter_1.weight", "lateral.weight"),
    rename(f"adapter_1.norm.{_WB}", "lateral.norm.<>"),
    rename("layer_1.weight", "smooth.weight"),
    rename(f"layer_1.norm.{_WB}", "smooth.norm.<>"),
    rename(f"mask_features.{_WB}"),
)
_DECODER_RULES = (
    rename(f"transformer_cross_attention_layers.#.multihead_attn.{_PROJECTIONS}", "layers.#.cross_attn.<>"),
    rename(f"transformer_cross_attention_layers.#.norm.{_WB}", "layers.#.cross_norm.<>"),
    rename(f"transformer_self_attention_layers.#.self_attn.{_PROJECTIONS}", "layers.#.self_attn.<>"),
    rename(f"transformer_self_attention_layers.#.norm.{_WB}", "layers.#.self_norm.<>"),
    rename(f"transformer_ffn_layers.#.<linear1|linear2>.{_WB}", "layers.#.<>.<>"),
    rename(f"transformer_ffn_layers.#.norm.{_WB}", "layers.#.ffn_norm.<>"),
    rename("<query_feat|query_embed|level_embed>.weight"),
    rename("static_query.weight", "query_feat.weight"),
    rename(f"input_proj.#.{_WB}"),  # only where the decoder's width is not the pixel decoder's
    rename(f"<decoder_norm|class_embed>.{_WB}"),
    rename(f"mask_embed.layers.#.{_WB}"),
)
_CONSTANTS = (
    drop("criterion.empty_weight", "a constant that the criterion makes itself"),
    drop("pixel_<mean|std>", "a constant of the recipe"),
)
_RULES = (
    *focalnet_rules("backbone.", FOCALNET),
    *(rule.within("sem_seg_head.predictor.", "decoder.") for rule in _DECODER_RULES),
    *(
        rule.within(prefix, "pixel_decoder.")
        for prefix in ("sem_seg_head.pixel_decoder.", "sem_seg_head.")
        for rule in _PIXEL_DECODER_RULES
    ),
    *_CONSTANTS,
)

CHECKS = (
    *architecture_checks(FOCALNET),
    ArchitectureCheck(length_of("pixel_decoder.level_embed"), "{} levels in the pixel decoder"),
    ArchitectureCheck(length_of("pixel_decoder.level_embed", 1), "width {}", "model.pixel_decoder.dim={}", usual=256),
    ArchitectureCheck(
        length_of("pixel_decoder.mask_features.bias"), "mask width {}", "model.pixel_decoder.mask_dim={}", usual=256
    ),
    ArchitectureCheck(
        count_of("pixel_decoder.encoder.layers"), "{} encoder layers", "model.pixel_decoder.encoder.num_layers={}"
    ),
    ArchitectureCheck(length_of("decoder.query_feat.weight", 1), "decoder width {}", "model.decoder.dim={}", usual=256),
    ArchitectureCheck(count_of("decoder.layers"), "{} decoder layers", "model.decoder.num_layers={}"),
    ArchitectureCheck(
        length_of("pixel_decoder.encoder.layers.0.linear1.bias"), "feed-forward width {} in the encoder", usual=1024
    ),
    ArchitectureCheck(length_of("decoder.layers.0.linear1.bias"), "feed-forward width {} in the decoder", usual=2048),
    ArchitectureCheck(length_of("decoder.query_feat.weight"), "{} queries", "model.decoder.num_queries={}"),
)


def _official_settings(model: nn.Module, state: State, metadata: Mapping[str, Any]) -> list[RequiredSetting]:
    return focalnet_settings(state, FOCALNET, mask2former_flags)


# Classes

_OFFICIAL_CLASSES = (
    [category["name"] for category in COCO_CATEGORIES],  # panoptic: 80 things, then 53 kinds of stuff
    [category["name"] for category in COCO_CATEGORIES if category["isthing"]],
    list(ADE20K_CLASSES),
    [ADE20K_CLASSES[index] for index in ADE20K_THING_IDS],
)


def _official_names(classes: int) -> list[str] | None:
    """The class lists of the official files differ in length."""
    return next((names for names in _OFFICIAL_CLASSES if len(names) == classes), None)


def _constants(model: Any) -> dict[str, Tensor]:
    return {"criterion.empty_weight": model.criterion.empty_weight}


_CLASS_TENSORS = (f"decoder.class_embed.{_WB}",)


LAYOUTS = (
    Layout(
        "Mask2Former",
        recognize=lambda names, state: holds(names, "sem_seg_head.predictor.*"),
        rules=lambda model, names: _RULES,
        checks=CHECKS,
        settings=_official_settings,
        classes=ClassRows(_CLASS_TENSORS, _official_names, extra_rows=1),  # no object
        constants=_constants,
    ),
    native_layout("pixel_decoder.*", focalnet=FOCALNET, checks=CHECKS, classes=ClassRows(_CLASS_TENSORS, extra_rows=1)),
)

"""Names and shapes of mmdetection's ATSS and Sparse R-CNN files, written down from the published heads."""

import torch
from torch import Tensor

from tests.golden.official_names import focalnet_names

TINY = dict(
    embed_dim=8, depths=(1, 1, 1, 1), focal_levels=(2, 2, 2, 2), focal_windows=(3, 3, 3, 3), use_conv_embed=False,
    use_postln_in_modulation=False, use_layerscale=False,
)  # fmt: skip
FOCALNET_T = {**TINY, "embed_dim": 96, "depths": (2, 2, 6, 2), "focal_windows": (11, 9, 9, 7)}


def with_bias(name: str, *shape: int) -> dict:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def backbone_and_neck(config: dict, stages: tuple[int, ...], dim: int) -> dict:
    shapes = focalnet_names({**config, "out_indices": stages}, "backbone.")
    for i, stage in enumerate(stages):
        shapes |= with_bias(f"neck.lateral_convs.{i}.conv", dim, config["embed_dim"] * 2**stage, 1, 1)
        shapes |= with_bias(f"neck.fpn_convs.{i}.conv", dim, dim, 3, 3)
    return shapes


def atss_shapes(config: dict, *, dim: int = 256, classes: int = 80, convs: int = 4) -> dict:
    """Every entry of an ATSS file."""
    shapes = backbone_and_neck(config, (1, 2, 3), dim)
    for level in (3, 4):
        shapes |= with_bias(f"neck.fpn_convs.{level}.conv", dim, dim, 3, 3)
    for branch in ("cls", "reg"):
        for k in range(convs):
            shapes[f"bbox_head.{branch}_convs.{k}.conv.weight"] = (dim, dim, 3, 3)
            shapes |= with_bias(f"bbox_head.{branch}_convs.{k}.gn", dim)
    for name, outputs in (("atss_cls", classes), ("atss_reg", 4), ("atss_centerness", 1)):
        shapes |= with_bias(f"bbox_head.{name}", outputs, dim, 3, 3)
    return shapes | {f"bbox_head.scales.{level}.scale": () for level in range(5)}


def sparse_rcnn_shapes(
    config: dict, *, dim: int = 256, classes: int = 80, proposals: int = 300, stages: int = 6, ffn: int = 2048,
    dynamic: int = 64,
) -> dict:  # fmt: skip
    """Every entry of a Sparse R-CNN file."""
    shapes = backbone_and_neck(config, (0, 1, 2, 3), dim)
    shapes["rpn_head.init_proposal_bboxes.weight"] = (proposals, 4)
    shapes["rpn_head.init_proposal_features.weight"] = (proposals, dim)
    for stage in range(stages):
        name = f"roi_head.bbox_head.{stage}."
        shapes[f"{name}attention.attn.in_proj_weight"] = (3 * dim, dim)
        shapes[f"{name}attention.attn.in_proj_bias"] = (3 * dim,)
        shapes |= with_bias(f"{name}attention.attn.out_proj", dim, dim)
        shapes |= with_bias(f"{name}instance_interactive_conv.dynamic_layer", 2 * dim * dynamic, dim)
        shapes |= with_bias(f"{name}instance_interactive_conv.fc_layer", dim, 49 * dim)
        shapes |= with_bias(f"{name}instance_interactive_conv.norm_in", dynamic)
        for norm in ("norm_out", "fc_norm"):
            shapes |= with_bias(f"{name}instance_interactive_conv.{norm}", dim)
        for norm in ("attention_norm", "instance_interactive_conv_norm", "ffn_norm"):
            shapes |= with_bias(f"{name}{norm}", dim)
        shapes |= with_bias(f"{name}ffn.layers.0.0", ffn, dim) | with_bias(f"{name}ffn.layers.1", dim, ffn)
        for branch, layers in (("cls", 1), ("reg", 3)):
            for k in range(layers):
                shapes[f"{name}{branch}_fcs.{3 * k}.weight"] = (dim, dim)
                shapes |= with_bias(f"{name}{branch}_fcs.{3 * k + 1}", dim)
        shapes |= with_bias(f"{name}fc_cls", classes, dim) | with_bias(f"{name}fc_reg", 4, dim)
    return shapes


def random_state(shapes: dict, seed: int = 0) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()}

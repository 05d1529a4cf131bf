"""Small and meta-device Mask2Formers, and official files for them."""

from functools import lru_cache

import torch
from torch import Tensor, nn

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from mask2former.model import Mask2Former
from tests.checkpoint.building import on_meta
from tests.golden.mask2former_cases import build, manifest, official_state, shipped_case
from tests.mask2former.building import build_mask2former

CASE = shipped_case("A_full")  # 10 classes, 24 queries
HEAD = "sem_seg_head.predictor."
TINY_BACKBONE = dict(embed_dim=8, depths=(1, 1, 1, 1), focal_levels=(1, 1, 1, 1), focal_windows=(3, 3, 3, 3))
PANOPTIC, SEMANTIC = "large_fl3_coco_panoptic_200q", "large_fl3_ade20k_semantic_100q"
FOUR_LEVELS = "large_fl4_coco_panoptic_200q"


@lru_cache
def _small_official() -> dict[str, Tensor]:
    return official_state(CASE)


def small_official() -> dict[str, Tensor]:
    """An official file for `case_model`; names may be added and removed."""
    return dict(_small_official())


def case_model(num_classes: int = 10) -> Mask2Former:
    """The model of `small_official`."""
    torch.manual_seed(3)
    return build({**CASE, "config": {**CASE["config"], "num_classes": num_classes}})


@lru_cache
def official_shapes(name: str) -> dict[str, Tensor]:
    """An official file of published size without values."""
    return on_meta(manifest(f"manifests_official/mask2former_focalnet_{name}.json"))


@lru_cache
def meta_mask2former(variant: str = "large_fl3", *, num_queries: int = 200, flags: tuple = (), **sizes) -> Mask2Former:
    """A Mask2Former of published size without values, which checking does not change."""
    published = dict(num_classes=133, layers=(6, 9), dims=(256, 256), ffn_dims=(1024, 2048), num_heads=8)
    with torch.device("meta"):
        backbone = FocalNet(**{**FOCALNET_VARIANTS[variant], **dict(flags)})
        return build_mask2former(backbone, num_queries=num_queries, **{**published, **sizes})


def small_mask2former(num_classes: int = 5, *, seed: int = 0, **backbone) -> Mask2Former:
    """A Mask2Former whose every parameter is random."""
    torch.manual_seed(seed)
    model = build_mask2former(FocalNet(**TINY_BACKBONE, **backbone), num_classes=num_classes)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model

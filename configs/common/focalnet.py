"""Published FocalNets as LazyConfig nodes, one name a network; sizes are those of `focalnet_d2.backbone.variants`.

`focalnet_mini` is this project's own, for the demo and for trying things on a CPU.
"""

from detectron2.config import LazyCall as L

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS as _VARIANTS

focalnet_mini = L(FocalNet)(embed_dim=24, depths=(2, 2, 4, 2), focal_levels=(3, 3, 3, 3), focal_windows=(3, 3, 3, 3))
focalnet_tiny_srf = L(FocalNet)(**_VARIANTS["tiny_srf"])
focalnet_tiny_lrf = L(FocalNet)(**_VARIANTS["tiny_lrf"])
focalnet_small_srf = L(FocalNet)(**_VARIANTS["small_srf"])
focalnet_small_lrf = L(FocalNet)(**_VARIANTS["small_lrf"])
focalnet_base_srf = L(FocalNet)(**_VARIANTS["base_srf"])
focalnet_base_lrf = L(FocalNet)(**_VARIANTS["base_lrf"])
focalnet_large_fl3 = L(FocalNet)(**_VARIANTS["large_fl3"])
focalnet_large_fl4 = L(FocalNet)(**_VARIANTS["large_fl4"])
focalnet_xlarge_fl3 = L(FocalNet)(**_VARIANTS["xlarge_fl3"])
focalnet_xlarge_fl4 = L(FocalNet)(**_VARIANTS["xlarge_fl4"])
focalnet_huge_fl3 = L(FocalNet)(**_VARIANTS["huge_fl3"])
focalnet_huge_fl4 = L(FocalNet)(**_VARIANTS["huge_fl4"])
focalnet_tiny_deeper_srf = L(FocalNet)(**_VARIANTS["tiny_deeper_srf"])
focalnet_tiny_deeper_lrf = L(FocalNet)(**_VARIANTS["tiny_deeper_lrf"])
focalnet_small_deeper_srf = L(FocalNet)(**_VARIANTS["small_deeper_srf"])
focalnet_small_deeper_lrf = L(FocalNet)(**_VARIANTS["small_deeper_lrf"])
focalnet_base_deeper_srf = L(FocalNet)(**_VARIANTS["base_deeper_srf"])
focalnet_base_deeper_lrf = L(FocalNet)(**_VARIANTS["base_deeper_lrf"])
focalnet_tiny_iso = L(FocalNet)(**_VARIANTS["tiny_iso"])
focalnet_small_iso = L(FocalNet)(**_VARIANTS["small_iso"])
focalnet_base_iso = L(FocalNet)(**_VARIANTS["base_iso"])

"""Mask2Former (masked-attention mask transformer, arXiv:2112.01527) on FocalNet features."""

from focalnet_d2.config.moved import add_moved_modules

add_moved_modules(__name__, {"mask_tiles": "tiled_resize", "results": "accumulators"})

"""DINO as detrex builds it: what differs from FocalNet-DINO."""

from .dino import model

model.shared_heads = False
model.position_embedding.temperature = 10000.0
model.position_embedding.offset = -0.5
model.mask_padding_in_eval = False
model.clip_boxes = True
model.denoising.small_number_is_groups = False

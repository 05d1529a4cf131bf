"""A Mask2Former that trains on a CPU: half the width, 3 + 6 layers, 50 queries; not a published network."""

from ..focalnet import focalnet_mini as _focalnet
from .mask2former import model

model.backbone = _focalnet
model.pixel_decoder.dim = 128
model.pixel_decoder.mask_dim = 128
model.pixel_decoder.position_embedding.num_feats = 64
model.pixel_decoder.encoder.num_layers = 3
model.pixel_decoder.encoder.num_heads = 4
model.pixel_decoder.encoder.ffn_dim = 512
model.decoder.num_layers = 6
model.decoder.num_heads = 4
model.decoder.ffn_dim = 512
model.decoder.num_queries = 50
model.criterion.num_points = 1024
model.inference.panoptic.object_mask_threshold = 0.5  # a short training leaves classes less sure

"""A DINO that trains on a CPU: half the width, half the layers and heads, 60 queries; not a published network."""

from ..focalnet import focalnet_mini as _focalnet
from .dino import model

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.out_features = ("res3", "res4", "res5")
model.backbone.dim = 128
model.position_embedding.num_feats = 64
model.encoder.num_layers = 3
model.encoder.num_heads = 4
model.encoder.ffn_dim = 512
model.decoder.num_layers = 3
model.decoder.num_heads = 4
model.decoder.ffn_dim = 512
model.query_selection.num_queries = 60
model.denoising.dn_number = 50
model.num_select = 60

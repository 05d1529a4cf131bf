"""A Sparse R-CNN that trains on a CPU: a quarter of the width, half the stages; not a published network."""

from ..focalnet import focalnet_mini as _focalnet
from .sparse_rcnn import model

model.backbone.bottom_up = _focalnet
model.backbone.out_channels = 64
model.head.num_proposals = 60
model.head.num_stages = 3
model.head.num_heads = 4
model.head.ffn_dim = 256
model.head.dynamic_dim = 32
model.num_select = 60

"""A UPerNet that trains on a CPU: an eighth of the width, no dropout; not a published network."""

from ..focalnet import focalnet_mini as _focalnet
from .upernet import model

model.backbone = _focalnet
model.decode_head.dim = 64
model.auxiliary_head.dim = 32
model.decode_head.dropout = model.auxiliary_head.dropout = 0.0
model.train_size = 0

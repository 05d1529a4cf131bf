"""An ATSS that trains on a CPU: a quarter of the width, half the convolutions; not a published network."""

from ..focalnet import focalnet_mini as _focalnet
from .atss import model

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.out_features = ("res3", "res4", "res5")
model.backbone.out_channels = 64
model.bbox_head.num_convs = 2

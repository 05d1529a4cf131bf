"""A Cascade Mask R-CNN that trains on a CPU, as `mask_rcnn_mini`; not a published network."""

from ..focalnet import focalnet_mini as _focalnet
from .cascade_mask_rcnn import model

model.backbone.bottom_up = _focalnet
model.backbone.out_channels = 64
model.proposal_generator.anchor_generator.sizes = [[16], [32], [64], [128], [256]]
model.proposal_generator.pre_nms_topk = (500, 500)
model.roi_heads.num_samples = 128
for _head in model.roi_heads.box_head:
    _head.conv_dims, _head.fc_dims = [64, 64, 64, 64], [256]
for _head in model.roi_heads.mask_head:
    _head.conv_dims = [64, 64, 64, 64, 64]

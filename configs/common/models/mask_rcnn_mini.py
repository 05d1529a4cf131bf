"""A Mask R-CNN that trains on a CPU: a quarter of the widths, anchors of half the size; not a published network."""

from ..focalnet import focalnet_mini as _focalnet
from .mask_rcnn import model

model.backbone.bottom_up = _focalnet
model.backbone.out_channels = 64
model.proposal_generator.anchor_generator.sizes = [[16], [32], [64], [128], [256]]
model.proposal_generator.pre_nms_topk = (500, 500)
model.roi_heads.batch_size_per_image = 128
model.roi_heads.box_head.fc_dims = [256, 256]
model.roi_heads.mask_head.conv_dims = [64, 64, 64, 64, 64]

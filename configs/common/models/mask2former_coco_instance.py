"""Mask2Former for COCO's 80 things: instances alone."""

from .mask2former import model

model.num_classes = 80
model.inference.semantic = None
model.inference.panoptic = None

"""Mask2Former for the 150 classes of ADE20K, 100 of them things: panoptic, semantic and instance results."""

from focalnet_d2.data.datasets import ADE20K_THING_IDS as _THING_IDS

from .mask2former import model

model.num_classes = 150
model.inference.thing_ids = _THING_IDS

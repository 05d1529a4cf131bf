"""Stable-DINO (arXiv:2304.13027): what differs from DINO as detrex builds it."""

from detectron2.config import LazyCall as L

from dino.memory_fusion import MemoryFusion
from focalnet_d2.set_prediction.position import PositionModulation, PositionSupervision

from .dino_detrex import model

model.encoder.fusion = L(MemoryFusion)(dim="${...backbone.dim}", num_layers="${..num_layers}", sources="all", norm=True)
model.criterion.matcher.position_modulation = L(PositionModulation)(exponent=0.5, mode="official")
model.criterion.position_supervision = L(PositionSupervision)(score_exponent=0.0, iou_exponent=2.0, curve="none")
model.criterion.class_weight = 6.0
model.criterion.denoising_class_weight = 1.0
model.denoising.rejected_step = 0.0

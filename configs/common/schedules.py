"""Learning-rate factors over a run, in epochs or iterations; they stretch with `train.max_iter`. None has a warm-up."""

from detectron2.config import LazyCall as L
from fvcore.common.param_scheduler import (
    ConstantParamScheduler,
    MultiStepParamScheduler,
    PolynomialDecayParamScheduler,
)

coco_12ep = L(MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[11], num_updates=12)
coco_24ep = L(MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[20], num_updates=24)
coco_36ep = L(MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[30], num_updates=36)
objects365_26ep = L(MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[24], num_updates=26)
# Mask2Former's; the milestones are at 8/9 and 26/27 of the iterations.
coco_50ep = L(MultiStepParamScheduler)(values=[1.0, 0.1, 0.01], milestones=[327_778, 355_092], num_updates=368_750)
coco_100ep = L(MultiStepParamScheduler)(values=[1.0, 0.1, 0.01], milestones=[655_556, 710_184], num_updates=737_500)
polynomial = L(PolynomialDecayParamScheduler)(base_value=1.0, power=0.9)
drop_at_80_percent = L(MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[8], num_updates=10)
constant = L(ConstantParamScheduler)(value=1.0)

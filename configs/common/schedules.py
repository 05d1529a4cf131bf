"""Learning-rate factors over a run, in epochs or iterations; they stretch with `train.max_iter`, warm-ups included."""

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import (
    ConstantParamScheduler,
    CosineParamScheduler,
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
# mmdetection's 1x and 3x, with a linear warm-up over 500 iterations of 7,330 an epoch.
coco_1x = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.1, 0.01], milestones=[9, 11], num_updates=12),
    warmup_factor=0.001,
    warmup_length=500 / 87_960,
    warmup_method="linear",
)
coco_3x = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.1, 0.01], milestones=[27, 33], num_updates=36),
    warmup_factor=0.001,
    warmup_length=500 / 263_880,
    warmup_method="linear",
)
# mmsegmentation's, with a linear warm-up over 1,500 of 160,000 iterations.
linear_decay = L(WarmupParamScheduler)(
    scheduler=L(PolynomialDecayParamScheduler)(base_value=1.0, power=1.0),
    warmup_factor=1e-6,
    warmup_length=1500 / 160_000,
    warmup_method="linear",
)
# The classifiers': 300 epochs from 1e-3 to 1e-5, 20 of them a linear warm-up from 1e-6.
imagenet_300ep = L(WarmupParamScheduler)(
    scheduler=L(CosineParamScheduler)(start_value=1.0, end_value=0.01),
    warmup_factor=0.001,
    warmup_length=20 / 300,
    warmup_method="linear",
)
# The classifiers after ImageNet-22K: 30 epochs from 3e-5 to 5e-6.
imagenet_30ep = L(CosineParamScheduler)(start_value=1.0, end_value=1 / 6)

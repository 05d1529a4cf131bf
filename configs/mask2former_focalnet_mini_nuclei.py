"""Small Mask2Former with a small FocalNet on the nuclei set: one class, up to 125 objects an image, 200 queries.

Source: this project; not a published network, no setting is from a paper.
Start: the backbone of weights/dino_focalnet_mini_day.safetensors.
Command: python train_net.py --config-file mask2former_focalnet_mini_nuclei train.init_checkpoint=FILE
"""

from .common.data.nuclei_instance import dataloader
from .common.models.mask2former_mini import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import mask2former_train as train

model.num_classes = 1
model.inference.thing_ids = (0,)
model.decoder.num_queries = 200
model.inference.semantic = model.inference.panoptic = None
model.inference.instance.top_k = 200
optimizer.lr = 4e-4
optimizer.lr_factor.factor = 1.0
train.backbone_only = True
train.max_iter = 600
train.clip_norm = 0.1
train.eval_period = train.checkpoint_period = 300
train.best_metric = "segm/AP"

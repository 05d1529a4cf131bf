"""The published classifier with its training losses (arXiv:2203.11926, table 18), for ImageNet-1K's 1000 classes.

A recipe sets `backbone`, with the last stage as its only output.
"""

from detectron2.config import LazyCall as L

from focalnet_d2.modeling.classifier.model import BatchMixing, ImageClassifier

from ..focalnet import focalnet_tiny_srf as _focalnet

model = L(ImageClassifier)(
    backbone=_focalnet,
    num_classes=1000,
    label_smoothing=0.1,
    mixing=L(BatchMixing)(mixup=0.8, cutmix=0.8, prob=1.0, switch_prob=0.5),
)
model.backbone.out_features = ("res5",)

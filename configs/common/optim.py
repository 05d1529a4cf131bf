"""Optimizers."""

from detectron2.config import LazyCall as L

from focalnet_d2.engine.optimizer import BackboneLrFactor, build_adamw

# DINO: the backbone at a tenth, the projections of its maps at the full rate; every parameter decays.
adamw = L(build_adamw)(
    lr=1e-4,
    weight_decay=1e-4,
    betas=(0.9, 0.999),
    decay_rule="all",
    lr_factor=L(BackboneLrFactor)(factor=0.1, prefix="backbone.bottom_up"),
)

# mmdetection and mmsegmentation: one rate for all; norms that are called so do not decay.
mm_adamw = L(build_adamw)(lr=1e-4, weight_decay=0.05, betas=(0.9, 0.999), decay_rule="mmdetection", lr_factor=None)
upernet_adamw = L(build_adamw)(lr=6e-5, weight_decay=0.01, betas=(0.9, 0.999), decay_rule="mmdetection", lr_factor=None)

# The classifiers (arXiv:2203.11926, table 18): vectors and biases do not decay.
imagenet_adamw = L(build_adamw)(lr=1e-3, weight_decay=0.05, betas=(0.9, 0.999), decay_rule="imagenet", lr_factor=None)

# Mask2Former: the backbone at a tenth; norms and embeddings do not decay.
mask2former_adamw = L(build_adamw)(
    lr=1e-4,
    weight_decay=0.05,
    betas=(0.9, 0.999),
    decay_rule="mask2former",
    lr_factor=L(BackboneLrFactor)(factor=0.1, prefix="backbone"),
)

"""The classifier with the head of the released ImageNet-22K networks, which have 4 stages."""

from .classifier import model

model.num_classes = 21842

"""Mask R-CNN and Cascade Mask R-CNN (arXiv:1703.06870, 1906.09756)."""

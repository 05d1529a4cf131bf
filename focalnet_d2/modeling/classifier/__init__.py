"""The ImageNet classifier (arXiv:2203.11926, section 4.1)."""

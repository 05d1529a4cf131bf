"""UPerNet (arXiv:1807.10221)."""

"""Sparse R-CNN (arXiv:2011.12450)."""

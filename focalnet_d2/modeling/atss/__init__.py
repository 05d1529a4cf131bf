"""ATSS: adaptive training sample selection (arXiv:1912.02424)."""

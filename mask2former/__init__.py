"""Mask2Former (masked-attention mask transformer, arXiv:2112.01527) on FocalNet features."""

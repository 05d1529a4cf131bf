"""DINO (DETR with improved denoising anchor boxes, arXiv:2203.03605) on FocalNet features."""

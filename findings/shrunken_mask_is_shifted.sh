#!/usr/bin/env bash
# albumentations 2.0.8 with opencv-python-headless 4.11.0.86; seen on 2026-12-01.
# Behaviour: a disc is painted into an image and is its mask. Where both are made smaller by one Resize with its defaults, the
# mask lies 0.3 pixels to the lower right of the image, at a quarter and at an eighth of the size: masks are resized by
# OpenCV's INTER_NEAREST, which takes the upper left pixel of those that become one. Up to half a pixel is possible. With
# mask_interpolation=INTER_NEAREST_EXACT, which is not the default, they differ by at most an eighth of a pixel here.
# The guess of most users: the mask lies where the object is.
#
# > 1/4: image 15.50 15.50, mask 15.79 15.79, exact 15.37 15.37
# > 1/8: image 7.50 7.50, mask 7.83 7.83, exact 7.46 7.46
source "$(dirname "$0")/common.sh"
check albumentations==2.0.8 numpy==1.26.4 opencv-python-headless==4.11.0.86 <<'PYTHON'
import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
import albumentations as A
import cv2
import numpy as np

row, column = np.mgrid[:128, :128] - 63.5
disc = (np.hypot(row, column) < 40).astype(np.uint8)


def center(weights):
    row, column = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return " ".join(f"{(axis * weights).sum() / weights.sum():.2f}" for axis in (row, column))


for part in (4, 8):
    side = 128 // part
    default = A.Resize(side, side, interpolation=cv2.INTER_AREA)(image=disc[..., None] * 255, mask=disc)
    exact = A.Resize(side, side, mask_interpolation=cv2.INTER_NEAREST_EXACT)(image=disc[..., None] * 255, mask=disc)
    image = default["image"].reshape(side, side).astype(float)
    print(f"1/{part}: image {center(image)}, mask {center(default['mask'])}, exact {center(exact['mask'])}")
PYTHON

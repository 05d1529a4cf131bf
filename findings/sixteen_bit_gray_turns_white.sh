#!/usr/bin/env bash
# Pillow 12.3.0, opencv-python-headless 4.14.0.94 (writes the files); seen on 2026-11-30.
# Behaviour: Image.open(...).convert("RGB"), the usual way to read training images, divides the values of a 16-bit color
#   PNG by 256, but cuts those of a 16-bit gray PNG at 255: a gray picture of a microscope, a satellite or a depth camera
#   is white nearly everywhere. Nothing is said.
# Likely guess: both are scaled to 8 bits, or both are refused.
# Output seen (values in the file, what convert("RGB") gives for color and gray):
# > file  [0, 255, 256, 1000, 30000, 65535]
# > color [0, 0, 1, 3, 117, 255]
# > gray  [0, 255, 255, 255, 255, 255]
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 pillow==12.3.0 opencv-python-headless==4.14.0.94 <<'PYTHON'
import cv2, numpy as np
from PIL import Image

gray = np.array([[0, 255, 256, 1000, 30000, 65535]], np.uint16)
cv2.imwrite("gray.png", gray)
cv2.imwrite("color.png", np.stack([gray] * 3, -1))
print("file ", gray[0].tolist())
for name in ("color", "gray"):
    print(f"{name:5}", np.asarray(Image.open(f"{name}.png").convert("RGB"))[0, :, 0].tolist())
PYTHON

#!/usr/bin/env bash
# Pillow 12.3.0; seen on 2026-12-01.
# Behaviour: a uint8 array (H, W, 4), such as red, green, blue and near infrared, becomes an image of mode RGBA without being
#   asked for, and resize() weighs colors by the fourth channel, the alpha of that mode: a pixel whose fourth value is 0 has no
#   color, and those of its neighbors are taken. Augmentations that resize arrays through Pillow (Detectron2's
#   ResizeTransform is one) so change three channels by the fourth. Three channels alone are averaged.
# Likely guess: each channel is resized by itself.
# Output seen (red of two pixels whose fourth values are 255 and 0, and red after resizing both to one):
# > file             [200, 100]
# > three channels   [150]
# > four channels    [199]
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 pillow==12.3.0 <<'PYTHON'
import numpy as np
from PIL import Image

pixels = np.array([[[200, 0, 0, 255], [100, 0, 0, 0]]], np.uint8)
print("file            ", pixels[0, :, 0].tolist())
for name, count in (("three channels", 3), ("four channels", 4)):
    image = Image.fromarray(np.ascontiguousarray(pixels[..., :count])).resize((1, 1), Image.Resampling.BOX)
    print(f"{name:16}", np.asarray(image)[0, :, 0].tolist())
PYTHON

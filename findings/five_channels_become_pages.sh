#!/usr/bin/env bash
# tifffile 2026.3.3, Pillow 12.3.0; seen on 2026-12-01.
# Behaviour: tifffile.imwrite of an array (H, W, 5) writes no image of H x W pixels with five channels but H pages of W x 5
#   pixels, while the same call with three or four channels of 8 bits writes one image. tifffile reads its own file back in the
#   right shape, so nobody notices until another program opens it. photometric="minisblack", planarconfig="contig" write
#   one image.
# Likely guess: the last axis is the channels, as it is for three.
# Output seen (channels of the array, pages and size that Pillow sees, shape that tifffile reads):
# > 3 pages 1 size (48, 64) shape (64, 48, 3)
# > 5 pages 64 size (5, 48) shape (64, 48, 5)
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 pillow==12.3.0 tifffile==2026.3.3 <<'PYTHON'
import numpy as np
import tifffile
from PIL import Image

for channels in (3, 5):
    tifffile.imwrite("a.tif", np.zeros((64, 48, channels), np.uint8))
    with Image.open("a.tif") as image:
        print(channels, "pages", image.n_frames, "size", image.size, "shape", tifffile.imread("a.tif").shape)
PYTHON

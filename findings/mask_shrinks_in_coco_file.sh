#!/usr/bin/env bash
# supervision 0.31.2, pycocotools 2.0.11, opencv-python-headless 4.14.0.94; seen on 2026-11-30.
# Behaviour: a mask that supervision writes as COCO polygons comes back a row and a column smaller: OpenCV's contour runs
#   through the centres of the border pixels, COCO's polygons run along their outer edges. A square of 8 x 8 pixels comes
#   back as 7 x 7, IoU 0.77 with itself, and "area" in the file is still 64. A bar of 2 x 20 keeps 19 of 40 pixels.
# Likely guess: what is written as a polygon covers the same pixels, or nearly.
# Output seen (mask, pixels, area in the file, pixels that pycocotools reads):
# > 8 x 8 64 64.0 49
# > 20 x 20 400 400.0 361
# > 2 x 20 40 40.0 19
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 pillow==12.3.0 opencv-python-headless==4.14.0.94 pycocotools==2.0.11 supervision==0.31.2 <<'PYTHON'
import contextlib, io, json

import numpy as np, supervision as sv
from PIL import Image
from pycocotools.coco import COCO

Image.new("RGB", (60, 60)).save("image.png")
for width, height in ((8, 8), (20, 20), (2, 20)):
    mask = np.zeros((60, 60), bool)
    mask[10 : 10 + height, 10 : 10 + width] = True
    box = np.array([[10.0, 10, 10 + width, 10 + height]])
    truth = sv.Detections(xyxy=box, mask=mask[None], class_id=np.array([0]))
    sv.DetectionDataset(classes=["thing"], images=["image.png"], annotations={"image.png": truth}).as_coco(
        annotations_path="truth.json"
    )
    (annotation,) = json.load(open("truth.json"))["annotations"]
    with contextlib.redirect_stdout(io.StringIO()):
        read = COCO("truth.json").annToMask(annotation)
    print(f"{width} x {height}", mask.sum(), annotation["area"], read.sum())
PYTHON

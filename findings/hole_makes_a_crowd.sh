#!/usr/bin/env bash
# supervision 0.31.2, pycocotools 2.0.11; seen on 2026-11-30.
# Behaviour: DetectionDataset.as_coco writes a mask with a hole, or of two parts, with "iscrowd": 1. It is one object, but
#   COCO's evaluation ignores crowds and training codes (Detectron2, mmdetection) leave them out, so the object is
#   neither learned nor scored: AP of the perfect result is -1, "no truth". A mask without a hole is an object.
# Likely guess: the hole changes the encoding (a run length in place of a polygon), not whether it is one object.
# Output seen (mask, iscrowd, AP of the same mask as a result):
# > solid 0 1.0
# > hole 1 -1.0
# > two parts 1 -1.0
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 pillow==12.3.0 pycocotools==2.0.11 supervision==0.31.2 <<'PYTHON'
import contextlib, io, json

import numpy as np, supervision as sv
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Image.new("RGB", (60, 60)).save("image.png")
solid = np.zeros((60, 60), bool)
solid[10:30, 10:30] = True
hole, parts = solid.copy(), solid.copy()
hole[15:20, 15:20] = False
parts[:, 18:22] = False
for name, mask in (("solid", solid), ("hole", hole), ("two parts", parts)):
    truth = sv.Detections(xyxy=np.array([[10.0, 10, 30, 30]]), mask=mask[None], class_id=np.array([0]))
    sv.DetectionDataset(classes=["thing"], images=["image.png"], annotations={"image.png": truth}).as_coco(
        annotations_path="truth.json"
    )
    (annotation,) = json.load(open("truth.json"))["annotations"]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO("truth.json")
        rle = coco.annToRLE(annotation)
        result = {"image_id": annotation["image_id"], "category_id": annotation["category_id"], "score": 0.9}
        evaluation = COCOeval(coco, coco.loadRes([{**result, "segmentation": rle}]), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    print(name, annotation["iscrowd"], f"{evaluation.stats[0]:.1f}")
PYTHON

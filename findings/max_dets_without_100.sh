#!/usr/bin/env bash
# pycocotools 2.0.11, faster-coco-eval 1.8.0, hotcoco 1.3.0; seen on 2026-11-30.
# Behaviour: COCOeval.params.maxDets = [10, 50, 200], for crowded scenes, leaves AP at -1 in pycocotools, while AP50 and
#   AP75 in the lines below are right: the first line asks for 100 detections by number and not for the last limit.
#   faster-coco-eval and hotcoco give the AP of 200 detections.
# Likely guess: the three packages agree, and AP is that of the largest limit, as AP50 is.
# Output seen (package, AP, AP50, AP75):
# > pycocotools -1.0 1.0 1.0
# > faster-coco-eval 1.0 1.0 1.0
# > hotcoco 1.0 1.0 1.0
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 pycocotools==2.0.11 faster-coco-eval==1.8.0 hotcoco==1.3.0 <<'PYTHON'
import contextlib, io, json

import faster_coco_eval, hotcoco, pycocotools.coco, pycocotools.cocoeval

PACKAGES = {
    "pycocotools": (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval),
    "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
    "hotcoco": (hotcoco.COCO, hotcoco.COCOeval),
}
truth = {
    "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 100}],
    "categories": [{"id": 1, "name": "thing"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
    ],
}
json.dump(truth, open("truth.json", "w"))
json.dump([{"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.9}], open("results.json", "w"))
for name, (coco, evaluator) in PACKAGES.items():
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = coco("truth.json")
        evaluation = evaluator(loaded, loaded.loadRes("results.json"), "bbox")
        evaluation.params.maxDets = [10, 50, 200]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    print(name, *(f"{value:.1f}" for value in list(evaluation.stats)[:3]))
PYTHON

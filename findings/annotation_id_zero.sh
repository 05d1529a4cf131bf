#!/usr/bin/env bash
# pycocotools 2.0.11, faster-coco-eval 1.8.0, hotcoco 1.3.0; seen on 2026-11-30.
# Behaviour: an annotation whose id is 0 counts as not found, however well a detection fits, for 0 also marks "no match"
#   in the table of matches. Perfect boxes have an AP of 25 in pycocotools and faster-coco-eval; hotcoco gives 100.
# Likely guess: COCO's format says "id": int, so ids may begin at 0, as image and category ids may, and packages that
#   are written to give pycocotools' numbers agree.
# Output seen (ids, package, AP):
# > 0,1 pycocotools 0.2525
# > 0,1 faster-coco-eval 0.2525
# > 0,1 hotcoco 1.0000
# > 1,2 pycocotools 1.0000
# > 1,2 faster-coco-eval 1.0000
# > 1,2 hotcoco 1.0000
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 pycocotools==2.0.11 faster-coco-eval==1.8.0 hotcoco==1.3.0 <<'PYTHON'
import contextlib, io, json

import faster_coco_eval, hotcoco, pycocotools.coco, pycocotools.cocoeval

PACKAGES = {
    "pycocotools": (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval),
    "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
    "hotcoco": (hotcoco.COCO, hotcoco.COCOeval),
}
BOXES = [[10, 10, 20, 20], [50, 50, 20, 20]]
for ids in ((0, 1), (1, 2)):
    truth = {
        "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": box, "area": 400, "iscrowd": 0}
            for i, box in zip(ids, BOXES)
        ],
    }
    results = [{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9} for box in BOXES]
    json.dump(truth, open("truth.json", "w"))
    json.dump(results, open("results.json", "w"))
    for name, (coco, evaluator) in PACKAGES.items():
        with contextlib.redirect_stdout(io.StringIO()):
            loaded = coco("truth.json")
            evaluation = evaluator(loaded, loaded.loadRes("results.json"), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        print(",".join(map(str, ids)), name, f"{evaluation.stats[0]:.4f}")
PYTHON

#!/usr/bin/env bash
# faster-coco-eval 1.8.0, pycocotools 2.0.11, hotcoco 1.3.0; seen on 2026-11-30.
# Behaviour: image ids that are 64-bit hashes (here 2^53 and 2^53 + 1) are one image to faster-coco-eval, which keeps
#   ids as floats: two images share one limit of detections, so the recall with one detection an image is halved. Where
#   the limit is not reached the numbers agree, so that nothing shows it.
# Likely guess: ids are whole numbers in JSON and in Python, any of them will do, as in pycocotools.
# Output seen (ids, package, recall with one detection an image, AP):
# > 1,2 pycocotools 1.0 1.0
# > 1,2 faster-coco-eval 1.0 1.0
# > 1,2 hotcoco 1.0 1.0
# > 9007199254740992,9007199254740993 pycocotools 1.0 1.0
# > 9007199254740992,9007199254740993 faster-coco-eval 0.5 1.0
# > 9007199254740992,9007199254740993 hotcoco 1.0 1.0
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
for ids in ((1, 2), (2**53, 2**53 + 1)):
    truth = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 100} for i in ids],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": 1, "bbox": box, "area": 400, "iscrowd": 0}
            for n, (i, box) in enumerate(zip(ids, BOXES), 1)
        ],
    }
    results = [
        {"image_id": i, "category_id": 1, "bbox": box, "score": score} for i, box, score in zip(ids, BOXES, (0.9, 0.8))
    ]
    json.dump(truth, open("truth.json", "w"))
    json.dump(results, open("results.json", "w"))
    for name, (coco, evaluator) in PACKAGES.items():
        with contextlib.redirect_stdout(io.StringIO()):
            loaded = coco("truth.json")
            evaluation = evaluator(loaded, loaded.loadRes("results.json"), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        print(",".join(map(str, ids)), name, f"{evaluation.stats[6]:.1f} {evaluation.stats[0]:.1f}")
PYTHON

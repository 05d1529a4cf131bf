#!/usr/bin/env bash
# datumaro 1.13.12, pycocotools 2.0.11; seen on 2026-11-30.
# Behaviour: Datumaro exports annotation ids as they are numbered in each image, so a COCO file of two images has id 1
#   twice. pycocotools looks annotations up by id and sees the last of them twice and the first never: the perfect
#   boxes of both images have an AP of 25. Nothing is said. With ids that differ, AP is 100.
# Likely guess: an exporter to COCO numbers the annotations of the file, and a repeated id is refused.
# Output seen (ids in Datumaro, ids in the file, AP):
# > [1, 1] [1, 1] 0.2525
# > [1, 2] [1, 2] 1.0000
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 datumaro==1.13.12 pycocotools==2.0.11 <<'PYTHON'
import contextlib, io, json, logging

import datumaro as dm, numpy as np
from datumaro.components.media import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

logging.disable()
for ids in ([1, 1], [1, 2]):
    items = [
        dm.DatasetItem(
            id=f"image{n}",
            media=Image.from_numpy(data=np.zeros((100, 100, 3), np.uint8)),
            annotations=[dm.Bbox(10 * n, 10, 20, 20, label=0, id=number, group=number)],
        )
        for n, number in enumerate(ids, 1)
    ]
    folder = f"export{ids[1]}"
    dm.Dataset.from_iterable(items, categories=["thing"]).export(folder, "coco_instances")
    file = f"{folder}/annotations/instances_default.json"
    annotations = json.load(open(file))["annotations"]
    results = [{key: one[key] for key in ("image_id", "category_id", "bbox")} for one in annotations]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(file)
        found = coco.loadRes([{**result, "score": 0.9} for result in results])
        evaluation = COCOeval(coco, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    print(ids, [one["id"] for one in annotations], f"{evaluation.stats[0]:.4f}")
PYTHON

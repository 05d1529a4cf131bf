#!/usr/bin/env bash
# hotcoco 1.3.0; seen on 2026-11-30.
# Behaviour: a detection inside a crowd region is neither right nor wrong for COCO's AP, and so for tide_errors(),
#   calibration() and image_diagnostics() of the same evaluation; confusion_matrix() counts it as a false positive.
# Likely guess: the numbers of one evaluation fit each other, and a detection that AP ignores is in none of them.
# Output seen:
# > AP50 1.0
# > false positives of tide_errors 0
# > detections of calibration 1
# > verdicts of image_diagnostics {1: 'tp'}
# > false positives of confusion_matrix 1
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 hotcoco==1.3.0 <<'PYTHON'
import contextlib, io, json

import hotcoco


def annotation(number, box, iscrowd):
    return dict(id=number, image_id=1, category_id=1, bbox=box, area=box[2] * box[3], iscrowd=iscrowd)


truth = {
    "images": [{"id": 1, "file_name": "1.png", "width": 200, "height": 200}],
    "categories": [{"id": 1, "name": "thing"}],
    "annotations": [annotation(1, [10, 10, 40, 40], 0), annotation(2, [100, 100, 60, 60], 1)],
}
found = [([10, 10, 40, 40], 0.9), ([110, 110, 20, 20], 0.8)]  # the second one lies in the crowd
results = [{"image_id": 1, "category_id": 1, "bbox": box, "score": score} for box, score in found]
json.dump(truth, open("truth.json", "w"))
json.dump(results, open("results.json", "w"))
with contextlib.redirect_stdout(io.StringIO()):
    loaded = hotcoco.COCO("truth.json")
    evaluation = hotcoco.COCOeval(loaded, loaded.loadRes("results.json"), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
errors = evaluation.tide_errors()["counts"]
print("AP50", round(float(evaluation.stats[1]), 3))
print("false positives of tide_errors", sum(count for name, count in errors.items() if name != "Miss"))
print("detections of calibration", evaluation.calibration()["num_detections"])
print("verdicts of image_diagnostics", dict(evaluation.image_diagnostics()["dt_status"]))
print("false positives of confusion_matrix", evaluation.confusion_matrix()["matrix"][-1].sum())
PYTHON

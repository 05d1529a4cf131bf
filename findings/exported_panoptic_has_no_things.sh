#!/usr/bin/env bash
# datumaro 1.13.12; seen on 2026-11-30.
# Behaviour: reading a COCO panoptic file and writing it again makes isthing 0 of every category, without a word, whatever
#   it was. Nothing is a thing any more: panoptic quality has no "Things" row, several cats of an image become one region
#   of stuff for training codes, and boxes cannot be made. Category ids are numbered anew, too.
# Likely guess: what was countable stays countable, as names and segments stay.
# Output seen (name, id, isthing; of the file that was read and of the one that was written):
# > read [('cat', 4, 1), ('grass', 9, 0)]
# > written [('cat', 1, 0), ('grass', 2, 0)]
# > segments [2, 1, 1]
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 datumaro==1.13.12 pillow==12.3.0 <<'PYTHON'
import json, os

import numpy as np
from PIL import Image

import datumaro as dm

ids = np.zeros((40, 60), np.uint8)
ids[:, :20], ids[:, 20:40], ids[:, 40:] = 1, 2, 3
boxes = {1: [0, 0, 20, 40], 2: [20, 0, 20, 40], 3: [40, 0, 20, 40]}
os.makedirs("in/annotations/panoptic_train")
os.makedirs("in/images/train")
Image.fromarray(np.dstack([ids, 0 * ids, 0 * ids])).save("in/annotations/panoptic_train/a.png")
Image.new("RGB", (60, 40)).save("in/images/train/a.jpg")
categories = [{"id": 4, "name": "cat", "isthing": 1}, {"id": 9, "name": "grass", "isthing": 0}]
segments = [
    {"id": number, "category_id": 9 if number == 1 else 4, "area": 800, "bbox": box, "iscrowd": 0}
    for number, box in boxes.items()
]
content = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}],
    "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
    "categories": categories,
}
json.dump(content, open("in/annotations/panoptic_train.json", "w"))
dm.Dataset.import_from("in", "coco_panoptic").export("out", "coco_panoptic", save_media=True)
written = json.load(open("out/annotations/panoptic_train.json"))
for what, some in (("read", content), ("written", written)):
    print(what, [(one["name"], one["id"], one["isthing"]) for one in some["categories"]])
print("segments", [one["category_id"] for one in written["annotations"][0]["segments_info"]])
PYTHON

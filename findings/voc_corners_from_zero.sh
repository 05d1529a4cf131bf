#!/usr/bin/env bash
# datumaro 1.13.12, hotcoco 1.3.0, numpy 2.4.6; seen on 2026-11-30.
# Behaviour: Pascal VOC files are not exchanged without a shift. The devkit counts pixels from 1 and its last pixel belongs
#   to the box; datumaro (with it CVAT) and Label Studio write corners from 0 with xmax as the edge, and nothing in the
#   file says so. hotcoco reads by the devkit's rule, as supervision and Detectron2 do: a box of 8 x 8 pixels comes back
#   as 9 x 9, one pixel up and left, IoU 0.79; one in the image's corner begins at -1.
# Likely guess: a box written as Pascal VOC by one tool is the same box in another.
# Output seen (xmin, ymin, xmax, ymax in the file; x, y, width, height as read):
# > 0.0 0.0 8.0 8.0 [-1.0, -1.0, 9.0, 9.0]
# > 20.0 10.0 28.0 18.0 [19.0, 9.0, 9.0, 9.0]
. "$(dirname "$0")/common.sh"
check numpy==2.4.6 datumaro==1.13.12 hotcoco==1.3.0 <<'PYTHON'
import logging
from xml.etree import ElementTree

import numpy as np
from datumaro.components.annotation import Bbox
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from hotcoco import COCO

logging.disable()
boxes = [Bbox(0, 0, 8, 8, label=0), Bbox(20, 10, 8, 8, label=0)]  # x, y, width, height
image = Image.from_numpy(np.zeros((50, 60, 3), np.uint8))
item = DatasetItem(id="image", subset="train", media=image, annotations=boxes)
Dataset.from_iterable([item], categories=["thing"]).export("voc", "voc_detection", save_media=True)
written = ElementTree.parse("voc/Annotations/image.xml").iter("bndbox")
for box, annotation in zip(written, COCO.from_voc("voc").dataset["annotations"]):
    print(*(box.findtext(key) for key in ("xmin", "ymin", "xmax", "ymax")), annotation["bbox"])
PYTHON

#!/usr/bin/env bash
# label-studio-sdk 2.1.2, pillow 12.3.0; seen on 2026-11-30.
# Behaviour: a rectangle that was turned in Label Studio is exported somewhere else. Its sides are percent of the image,
#   its angle is one on the screen. The COCO export turns it in percent, as if every image were a square; the YOLO and
#   Pascal VOC exports drop the angle without a word. A rectangle of 20 x 10 pixels that stands upright after a turn by 90
#   degrees, on an image of 100 x 50, has IoU 0.33 with its COCO box and none with the others. The export of turned boxes
#   (YOLO OBB) of the same package turns in pixels, and is right.
# Likely guess: all formats hold the turned rectangle, or the box around it: x 40 to 50 and y 10 to 30.
# Output seen (x0, y0, x1, y1 in pixels):
# > OBB 40.0 10.0 50.0 30.0
# > COCO 30.0 10.0 50.0 20.0
# > YOLO 50.0 10.0 70.0 20.0
# > VOC 50 10 70 20
. "$(dirname "$0")/common.sh"
check label-studio-sdk==2.1.2 pillow==12.3.0 <<'PYTHON'
import json, logging, os
from xml.etree import ElementTree

from label_studio_sdk.converter import Converter
from PIL import Image

logging.disable()
Image.new("RGB", (100, 50)).save("image.png")
config = """<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image"><Label value="thing"/>
</RectangleLabels></View>"""
rectangle = {"x": 50, "y": 20, "width": 20, "height": 20, "rotation": 90, "rectanglelabels": ["thing"]}
result = {"id": "a", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": rectangle}
result |= {"original_width": 100, "original_height": 50, "image_rotation": 0}
task = {"id": 1, "data": {"image": os.path.abspath("image.png")}, "annotations": [{"id": 1, "result": [result]}]}
json.dump([task], open("export.json", "w"))
converter = Converter(config=config, project_dir=".")
converter.convert_to_coco("export.json", "coco", is_dir=False)
converter.convert_to_yolo("export.json", "yolo", is_dir=False)
converter.convert_to_yolo("export.json", "obb", is_dir=False, is_obb=True)
converter.convert_to_voc("export.json", "voc", is_dir=False)

_, *shares = map(float, open("obb/labels/image.txt").read().split())
columns, rows = [round(x * 100, 6) for x in shares[::2]], [round(y * 50, 6) for y in shares[1::2]]
print("OBB", min(columns), min(rows), max(columns), max(rows))
x, y, w, h = (round(side, 6) for side in json.load(open("coco/result.json"))["annotations"][0]["bbox"])
print("COCO", x, y, x + w, y + h)
_, x, y, w, h = map(float, open("yolo/labels/image.txt").read().split())
print("YOLO", *(round(side, 6) for side in ((x - w / 2) * 100, (y - h / 2) * 50, (x + w / 2) * 100, (y + h / 2) * 50)))
box = ElementTree.parse("voc/Annotations/image.xml").find("object/bndbox")
print("VOC", *(box.findtext(key) for key in ("xmin", "ymin", "xmax", "ymax")))
PYTHON

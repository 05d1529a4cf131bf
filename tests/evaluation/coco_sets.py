"""Small COCO sets with everything in them that scoring treats in its own way, and the official tool's verdict."""

import contextlib
import io
import json

import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

HEIGHT, WIDTH = 120, 160
STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def rectangle(box) -> dict:
    """Compressed RLE of an XYWH box of whole pixels."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    x, y, width, height = (int(side) for side in box)
    mask[y : y + height, x : x + width] = 1
    encoded = rle.encode(mask)
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def random_set(random: np.random.RandomState, *, image_ids=(3, 11, 20, 35), category_ids=(2, 5, 40)) -> tuple:
    """Annotations with crowds, and detections of them: near, wrong in class, doubled, tied in score, some out of thin
    air; the last image has none of either, the last class no annotations."""
    annotations, results = [], []
    for image in image_ids[:-1]:
        for _ in range(random.randint(1, 7)):
            box = _box(random)
            category, crowd = int(random.choice(category_ids[:-1])), int(random.rand() < 0.2)
            near = [_moved(random, box) for _ in range(random.randint(0, 4))] + [_box(random)]
            annotations.append(_annotation(len(annotations) + 1, image, category, box, crowd))
            results += [_result(random, image, category, category_ids, found) for found in near]
    truth = {
        "images": [{"id": image, "height": HEIGHT, "width": WIDTH} for image in image_ids],
        "categories": [{"id": category, "name": f"class {category}"} for category in category_ids],
        "annotations": annotations,
    }
    random.shuffle(results)
    return truth, results


def _box(random) -> list[int]:
    width, height = random.randint(4, 110, 2)
    return [int(random.randint(0, WIDTH - width)), int(random.randint(0, HEIGHT - height)), int(width), int(height)]


def _moved(random, box) -> list[int]:
    x, y, width, height = (side + random.randint(-3, 4) for side in box)
    x, y = max(x, 0), max(y, 0)
    return [int(x), int(y), int(np.clip(width, 1, WIDTH - x)), int(np.clip(height, 1, HEIGHT - y))]


def _annotation(number, image, category, box, crowd) -> dict:
    x, y, width, height = box
    polygon = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    segmentation = rectangle(box) if crowd or number % 2 else polygon
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": width * height,
        "iscrowd": crowd,
        "segmentation": segmentation,
    }


def _result(random, image, category, category_ids, box) -> dict:
    return {
        "image_id": image,
        "category_id": category if random.rand() < 0.8 else int(random.choice(category_ids)),
        "bbox": [float(side) for side in box],
        "score": float(random.choice([0.2, 0.4, 0.6, 0.8])),
        "segmentation": rectangle(box),
    }


def official(truth: dict, results: list[dict], iou_type: str, max_dets: int = 100) -> COCOeval:
    """pycocotools' evaluation, summarized."""
    dropped = "segmentation" if iou_type == "bbox" else "bbox"
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO()
        annotations.dataset = json.loads(json.dumps(truth))
        annotations.createIndex()
        found = annotations.loadRes([{key: result[key] for key in result.keys() - {dropped}} for result in results])
        evaluation = COCOeval(annotations, found, iou_type)
        evaluation.params.maxDets = [1, 10, max_dets]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def official_counts(evaluation: COCOeval) -> dict[int, dict[str, int]]:
    """tp, fp and fn at IoU 0.5 of each category, from pycocotools' table of matches."""
    counts = {category: {"tp": 0, "fp": 0, "fn": 0} for category in evaluation.params.catIds}
    everything = evaluation.params.areaRng[0]
    for match in filter(None, evaluation.evalImgs):
        if match["aRng"] == everything:
            counted = ~match["dtIgnore"][0].astype(bool)
            right = (match["dtMatches"][0] > 0) & counted
            count = counts[match["category_id"]]
            count["tp"] += int(right.sum())
            count["fp"] += int((counted & ~right).sum())
            count["fn"] += int((np.asarray(match["gtIgnore"]) == 0).sum() - right.sum())
    return counts

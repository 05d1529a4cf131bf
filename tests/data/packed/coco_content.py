"""Random content in COCO's instances format with everything that is allowed, for tests of packed records."""

import json
import random
from pathlib import Path
from typing import Any

HEIGHT, WIDTH = 12, 16


def number(draw: random.Random) -> float:
    return draw.choice([draw.randrange(12), round(draw.uniform(0, 12), 2), float(draw.randrange(12)), -0.0])


def segmentation(draw: random.Random) -> Any:
    """Polygons, run lengths of both kinds, or nothing that can be used."""
    kind = draw.randrange(8)
    if kind < 5:
        return [[number(draw) for _ in range(2 * draw.randint(2, 5))] for _ in range(draw.randint(1, 3))]
    if kind == 5:
        return {"size": [HEIGHT, WIDTH], "counts": [20, 5, HEIGHT * WIDTH - 25]}
    return draw.choice([[], None, {"size": [HEIGHT, WIDTH], "counts": "1"}, "}, {", [[1, 2, 3]]])


def annotation(draw: random.Random, image_ids: list, category_ids: list) -> dict[str, Any]:
    entry = {
        "id": draw.choice([draw.randrange(40), draw.randrange(10**6)]),
        "image_id": draw.choice(image_ids),
        "category_id": draw.choice(category_ids),
        "bbox": [number(draw), number(draw), draw.choice([3, 2.5, 40.0, 0]), draw.choice([4, 1.25])],
        "segmentation": segmentation(draw),
        "area": draw.choice([12, 3.5, None]),
        "iscrowd": draw.choice([0, 0, 0, 1, None, True]),
    }
    extras = {
        "keypoints": [1, 2.5, 2, 0, 0, 0],
        "ignore": draw.choice([0, 1]),
        "attributes": {"text": '"}, {"\\', "list": [[{"a": "]"}], {}]},
        "note": "ünï}, {",
    }
    entry |= {key: value for key, value in extras.items() if draw.random() < 0.15}
    for key in ("iscrowd", "area", "id", "segmentation"):
        if draw.random() < 0.1:
            del entry[key]
    return entry


def content(draw: random.Random) -> dict[str, Any]:
    """Images, categories and annotations in any order, among others."""
    names = draw.random() < 0.2
    image_ids = [f"img {n}" if names else n for n in draw.sample(range(60), draw.randint(1, 6))]
    category_ids = draw.sample(range(1200), draw.randint(1, 4))
    lists = {
        "images": [
            {"id": key, "file_name": f"ä{key}.jpg", "height": HEIGHT, "width": float(WIDTH), "url": "x},{"}
            for key in image_ids
        ],
        "categories": [{"id": key, "name": f"class {key}"} for key in category_ids],
        "annotations": [annotation(draw, image_ids, category_ids) for _ in range(draw.randint(1, 25))],
        "info": {"images": "none", "year": 2020, "nested": [[{"annotations": 1}]]},
        "licenses": [],
    }
    keys = list(lists)
    draw.shuffle(keys)
    return {key: lists[key] for key in keys}


def write(path: Path, draw: random.Random, value: Any) -> Path:
    """Writes the file with one of the usual white spaces."""
    style = draw.choice([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])
    path.write_text(draw.choice(["", "\n "]) + json.dumps(value, **style) + draw.choice(["", "\n"]), encoding="utf-8")
    return path


def content_of_boxes(draw: random.Random) -> dict[str, Any]:
    """As `content`, with annotations that are boxes alone, of which few are unusual."""
    value = content(draw)
    strange = draw.choice([0.0, 0.0, 0.05])
    for entry in value["annotations"]:
        for key in ("segmentation", "keypoints", "ignore", "attributes", "note"):
            entry.pop(key, None)
        entry |= {"id": draw.randrange(10**6), "area": draw.choice([12, 3.5]), "iscrowd": int(draw.random() < 0.2)}
        entry["isfake"] = 0
        if draw.random() < strange:
            entry |= draw.choice(
                [{"iscrowd": True}, {"ignore": 1}, {"area": None}, {"segmentation": [[1, 1, 5, 1, 5, 5]]}, {"id": "a"},
                 {"keypoints": [1, 2.5, 2]}, {"image_id": -5}]
            )  # fmt: skip
    if draw.random() < 0.3:
        for entry in value["annotations"]:
            del entry["iscrowd"]
    if draw.random() < 0.3:
        for entry in value["annotations"]:
            entry.setdefault("segmentation", draw.choice([[], None]))
    return value

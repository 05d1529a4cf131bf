"""Panoptic files with a report that goes on: the same sentences, and what is left passes all rules."""

import json

import pytest

from focalnet_d2.data.annotations.panoptic import read_panoptic


def content():
    def segments(*ids):
        return [
            {"id": number, "category_id": kind, "iscrowd": 0, "area": 8, "bbox": [0, 0, 4, 2]} for number, kind in ids
        ]

    return {
        "images": [{"id": key, "file_name": f"{key}.png", "height": 4, "width": 4} for key in (1, 3, 8)],
        "categories": [{"id": 7, "name": "dog", "isthing": 1}, {"id": 40, "name": "sky", "isthing": 0}],
        "annotations": [
            {"image_id": 1, "file_name": "1.png", "segments_info": segments((5, 7), (6, 40))},
            {"image_id": 3, "file_name": "3.png", "segments_info": segments((5, 7), (9, 7))},
            {"image_id": 8, "file_name": "8.png", "segments_info": segments((5, 7))},
        ],
    }


def segment(data):
    return data["annotations"][0]["segments_info"][0]


CHANGES = {
    "duplicate-image-id": (lambda c: c["images"].append(dict(c["images"][0])), ("1",)),
    "image-id-type": (lambda c: c["images"][0].update(id="1"), ("1",)),
    "image-size-value": (lambda c: c["images"][0].pop("width"), ("1",)),
    "file-name": (lambda c: c["annotations"][1].update(file_name=3), ("3",)),
    "category-unknown": (lambda c: segment(c).update(category_id=8), ("1/5",)),
    "duplicate-category-name": (lambda c: c["categories"][1].update(name="dog"), ("dog",)),
    "duplicate-segment-id": (lambda c: segment(c).update(id=6), ("1/6",)),
    "segment-id": (lambda c: segment(c).update(id=0), ("1/0",)),
    "area-value": (lambda c: segment(c).update(area="8"), ("1/5",)),
    "flag-value": (lambda c: segment(c).update(iscrowd="0"), ("1/5",)),
    "duplicate-annotation": (lambda c: c["annotations"].append(c["annotations"][1]), ("3",)),
    "image-unknown": (lambda c: c["annotations"][1].update(image_id=4), ("4",)),
    "not-a-list-of-objects": (lambda c: c["annotations"][1].update(segments_info=[1]), ("3",)),
    "segments-missing": (lambda c: c["annotations"][1].pop("segments_info"), ("one of image 3",)),
    "category-name": (lambda c: c["categories"][1].update(name=" "), ("40",)),
    "list-missing": (lambda c: c.pop("categories"), ("categories",)),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_fault_is_reported_with_its_ids_and_what_is_left_can_be_read(tmp_path, kind):
    change, ids = CHANGES[kind]
    data = content()
    change(data)
    path = tmp_path / "panoptic.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"panoptic\.json") as caught:
        read_panoptic(path)
    faults = []
    read = read_panoptic(path, faults.append)
    errors = [fault for fault in faults if fault.severity == "error"]
    assert (errors[0].kind, errors[0].message, errors[0].ids) == (kind, str(caught.value), ids)
    if not read.segments or not read.categories:
        return
    left = {
        "images": list(read.images.values()),
        "categories": read.categories,
        "annotations": list(read.segments.values()),
    }
    for image in left["images"]:
        image.setdefault("width", 4)
    path.write_text(json.dumps(left))
    read_panoptic(path)


def test_a_good_file_has_no_fault(tmp_path):
    path = tmp_path / "panoptic.json"
    path.write_text(json.dumps(content()))
    faults = []
    assert list(read_panoptic(path, faults.append).segments) == [1, 3, 8]
    assert faults == []

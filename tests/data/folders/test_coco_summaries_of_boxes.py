"""A big file of boxes alone is recognized as any other file is, though nobody makes objects of its annotations."""

import pytest

from benchmarks.builders import data_growth
from focalnet_d2.data.folders import coco_summaries
from focalnet_d2.data.folders.listing import Listing
from focalnet_d2.kernels.box_annotations import LIBRARY


@pytest.mark.skipif(bool(LIBRARY.unavailable_reason()), reason=LIBRARY.unavailable_reason())
@pytest.mark.parametrize("mask", ["", ', "segmentation": []'])
def test_the_summary_of_boxes_is_that_of_objects(tmp_path, monkeypatch, mask):
    text = "".join(data_growth.file_parts(3000)).replace(', "iscrowd": 0', f', "iscrowd": 0{mask}')
    (tmp_path / "boxes.json").write_text(text)
    assert len(text) > coco_summaries.BIG
    taken = []
    original = coco_summaries.read_boxes
    monkeypatch.setattr(coco_summaries, "read_boxes", lambda text: taken.append(original(text)) or taken[-1])
    [fast] = coco_summaries.coco_summaries(Listing(tmp_path))
    assert sum(len(columns.ids) for columns in taken if columns) > 0.8 * 3000 * data_growth.OBJECTS
    monkeypatch.setattr(coco_summaries, "read_boxes", lambda text: None)
    [slow] = coco_summaries.coco_summaries(Listing(tmp_path))
    assert list(fast.image_names) == list(slow.image_names)
    for name in ("path", "kind", "categories", "used", "has_masks", "example"):
        assert getattr(fast, name) == getattr(slow, name)
    assert (fast.kind, fast.has_masks, fast.used) == ("instances", False, frozenset(range(1, data_growth.CLASSES + 1)))

"""Tracking: numbers go to the objects that a tracker gave them to, in whatever order it returns them."""

from dataclasses import replace

import numpy as np
import pytest

from focalnet_d2.data.class_map import class_map
from focalnet_d2.inference.prediction import Prediction
from focalnet_d2.inference.tracking import ObjectTracker

CLASSES = class_map([7], ["car"])


def frame(*lefts: float, time: float = 0.0) -> Prediction:
    """Cars of 40 x 40 pixels."""
    boxes = np.array([[left, 10, left + 40, 50] for left in lefts], np.float32).reshape(-1, 4)
    scores, class_ids = np.linspace(0.9, 0.5, len(lefts), dtype=np.float32), np.zeros(len(lefts), np.int64)
    return Prediction(
        np.zeros((60, 300, 3), np.uint8), CLASSES, boxes=boxes, scores=scores, class_ids=class_ids, time=time
    )


class TurningTracker:
    """Numbers objects by their left edge and returns them from right to left."""

    def __init__(self):
        self.timestamps = []

    def update(self, detections, *, timestamp=None):
        self.timestamps.append(timestamp)
        turned = detections[np.argsort(-detections.xyxy[:, 0])]
        turned.tracker_id = turned.xyxy[:, 0].astype(int) // 10
        return turned


def test_numbers_follow_their_objects():
    tracker = TurningTracker()
    tracked = ObjectTracker(tracker).update(frame(100, 30, 200, time=0.5))
    assert tracked.track_ids.tolist() == [10, 3, 20]
    assert tracker.timestamps == [0.5]
    assert [entry["track_id"] for entry in tracked.to_coco()["annotations"]] == [10, 3, 20]
    assert tracked.to_supervision().tracker_id.tolist() == [10, 3, 20]


def test_a_frame_without_objects_has_no_numbers():
    assert ObjectTracker(TurningTracker()).update(frame()).track_ids.tolist() == []


def test_a_model_without_boxes_is_not_tracked():
    with pytest.raises(ValueError, match="tracked by their boxes"):
        ObjectTracker(TurningTracker()).update(replace(frame(), boxes=None))


def test_byte_track_keeps_the_numbers_of_moving_cars():
    pytest.importorskip("trackers")
    tracker = ObjectTracker(frame_rate=10.0)
    seen = [tracker.update(frame(20 + 4 * step, 200 - 4 * step, time=step / 10)).track_ids for step in range(8)]
    assert seen[0].tolist() == [-1, -1]  # seen once
    assert len({tuple(ids) for ids in seen[2:]}) == 1
    assert len(set(seen[-1].tolist())) == 2
    assert min(seen[-1].tolist()) >= 0

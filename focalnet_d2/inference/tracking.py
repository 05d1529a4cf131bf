"""Numbers of objects that stay the same from frame to frame, by the package trackers (ByteTrack, arXiv:2110.06864)."""

from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from .prediction import Prediction

NO_TRACK = -1  # of an object that was not yet seen often enough


class DetectionTracker(Protocol):
    """What trackers of the package trackers have: it sets `tracker_id` of `supervision.Detections`."""

    def update(self, detections: Any, *, timestamp: float | None = None) -> Any:
        """The detections of the next frame, perhaps in another order; its time in seconds."""


class ObjectTracker:
    """Follows the objects of successive predictions by their boxes, whatever their classes.

    Args:
        tracker: from the package trackers; by default its ByteTrack, for which all objects that it is given are certain
            ones, since a prediction has none below its threshold.
        frame_rate: frames a second, by which ByteTrack keeps an object that is hidden for a second.

    Raises:
        ImportError: the package is missing.
    """

    def __init__(self, tracker: DetectionTracker | None = None, *, frame_rate: float = 30.0):
        self._tracker = _byte_track(frame_rate) if tracker is None else tracker

    def update(self, prediction: Prediction) -> Prediction:
        """The prediction of the next frame with `track_ids`, -1 for an object that has no number as yet.

        Raises:
            ValueError: the model predicts no boxes.
        """
        if prediction.boxes is None:
            raise ValueError("Objects are tracked by their boxes, which the model does not predict.")
        detections = replace(prediction, masks=None).to_supervision()
        detections.data["index"] = np.arange(len(prediction.boxes))
        tracked = self._tracker.update(detections, timestamp=prediction.time)
        track_ids = np.full(len(prediction.boxes), NO_TRACK, np.int64)
        if len(tracked):
            track_ids[tracked.data["index"]] = tracked.tracker_id
        return replace(prediction, track_ids=track_ids)


def _byte_track(frame_rate: float) -> DetectionTracker:
    try:
        # optional: the extra tracking, which few who check types have installed
        from trackers import ByteTrackTracker  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("Tracking needs the package trackers: pip install 'focalnet-d2[tracking]'") from error
    return ByteTrackTracker(
        lost_track_buffer=30, frame_rate=frame_rate, track_activation_threshold=0.0, high_conf_det_threshold=0.0
    )

"""How much was predicted, and how fast."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from focalnet_d2.utils.text import plural

from .prediction import Prediction


@dataclass
class PredictionCounts:
    """What the results of some processes have in them.

    Attributes:
        objects, segments: None where no result has boxes, or panoptic maps.
        seconds: of reading, predicting and writing.
    """

    images: int = 0
    frames: int = 0
    objects: int | None = None
    segments: int | None = None
    seconds: float = 0.0

    def add(self, prediction: Prediction) -> None:
        """Count the results of an image, or of a frame of a video."""
        is_frame = prediction.frame_index is not None
        objects = None if prediction.boxes is None else len(prediction.boxes)
        segments = None if prediction.panoptic_map is None else len(prediction.segments)
        self.join(PredictionCounts(int(not is_frame), int(is_frame), objects, segments))

    def counting(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """The same, counted as they come."""
        for prediction in predictions:
            self.add(prediction)
            yield prediction

    def join(self, other: "PredictionCounts") -> None:
        """Add those of another process, which worked at the same time."""
        self.images += other.images
        self.frames += other.frames
        self.objects = _sum(self.objects, other.objects)
        self.segments = _sum(self.segments, other.segments)
        self.seconds = max(self.seconds, other.seconds)

    def __str__(self) -> str:
        """One line: "12 images, 40 objects, 5.1 images a second"; empty where nothing was predicted."""
        done = self.images + self.frames
        counts = (("image", self.images or None), ("frame", self.frames or None), ("object", self.objects))
        parts = [plural(count, what) for what, count in (*counts, ("segment", self.segments)) if count is not None]
        rate = [f"{done / self.seconds:.3g} images a second"] if self.seconds > 0 else []
        return ", ".join([*parts, *rate]) if done else ""


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other

"""A picture of a prediction, drawn by supervision: its segments, or else its masks and boxes, with readable labels."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import numpy as np
from PIL import Image
from scipy.ndimage import find_objects

from focalnet_d2.data.class_map import Color

from .picture_labels import WIDEST, LabelPlaces, TextStyle, corners_at_box, middles_of_regions, shortened
from .picture_reduction import reduced
from .supervision_library import load_supervision

if TYPE_CHECKING:  # prediction.py imports this module
    from .prediction import Prediction

SHORTEST, LONGEST = 400, 2000  # pixels: a smaller image is enlarged to the first, unless it gets longer than the second
OPACITY = 0.45  # of the color that a region is filled with
BEST_CLASSES = 3  # of a classifier
_ROWS = 256  # that are filled at a time: supervision takes 60 bytes for each pixel
BRIGHT = 140  # of 255: on colors above it, text is dark
INK: Color = (20, 22, 28)
PAPER: Color = (255, 255, 255)


def draw_prediction(prediction: "Prediction", font: str | os.PathLike | None = None) -> np.ndarray:
    """(h, w, 3) uint8 RGB: the panoptic map, else the objects, else the semantic map; of a classifier the best classes.

    Args:
        font: a file for class names with letters that DejaVu Sans lacks.

    Raises:
        ImportError: supervision is not installed.
        OSError: the font cannot be read.
    """
    prediction = reduced(prediction)
    canvas = _Canvas(prediction, load_supervision("A picture"), font)
    if prediction.panoptic_map is not None:
        ids = np.array([one.id for one in prediction.segments], np.int64)
        canvas.draw_regions(_places_in(ids, prediction.panoptic_map), [one.class_id for one in prediction.segments])
    elif prediction.boxes is not None:
        canvas.draw_objects()
    elif prediction.semantic_map is not None:
        present = np.unique(prediction.semantic_map)
        canvas.draw_regions(np.searchsorted(present, prediction.semantic_map), present.tolist())
    elif (scores := prediction.class_scores) is not None:
        best = np.argsort(-scores, kind="stable")[:BEST_CLASSES].tolist()
        canvas.list_classes(best, [f" {100 * scores[index]:.0f}" for index in best])
    elif prediction.class_ids is not None:
        canvas.list_classes(prediction.class_ids.tolist(), [""])
    return canvas.rgb()


def _places_in(ids: np.ndarray, panoptic_map: np.ndarray) -> np.ndarray:
    """(H, W) int32 places of the segment ids in their list, -1 for those that are not in it."""
    places = np.full(max(panoptic_map.max(), ids.max(initial=0)) + 1, -1, np.int32)
    places[ids] = np.arange(len(ids))
    return places[panoptic_map]


class _Label(NamedTuple):
    """What is written about an object or a region.

    Attributes:
        class_id: whose name it has.
        ending: stands behind the name.
        box: (4,) XYXY around it, pixels of the canvas.
        middle, depth: the point deepest inside a region, and how deep that is; a deep one has its label there.
        is_listed: its label stands in the left top corner, below those before it.
    """

    class_id: int
    ending: str
    box: np.ndarray
    middle: tuple[float, float] = (0.0, 0.0)
    depth: float = 0.0
    is_listed: bool = False

    def corners(self, size: tuple[int, int]) -> list[tuple[float, float]]:
        """Where the left top corner of a label of this width and height may be, the best place first."""
        width, height = size
        if self.is_listed:
            return [(0, row * height) for row in range(BEST_CLASSES)]
        inside = [(self.middle[0] - width / 2, self.middle[1] - height / 2)] if self.depth >= height else []
        return inside + corners_at_box(self.box.tolist(), size)


class _Canvas:
    """The image, enlarged if it is small, and what is drawn on it; supervision takes BGR."""

    def __init__(self, prediction: "Prediction", library: ModuleType, font: str | os.PathLike | None) -> None:
        self.prediction, self.library = prediction, library
        height, width = prediction.size
        self.scale = max(1.0, min(SHORTEST / min(height, width), LONGEST / max(height, width)))
        size = (max(1, round(width * self.scale)), max(1, round(height * self.scale)))
        image = Image.fromarray(prediction.image).resize(size, Image.Resampling.BICUBIC)
        self.pixels = np.asarray(image)[..., ::-1].copy()
        side = math.sqrt(size[0] * size[1])
        self.line = max(3, round(side / 300))
        self.colors = [library.Color(*color) for color in prediction.classes.colors]
        self.contrast = [library.Color(*_contrast(color)) for color in prediction.classes.colors]
        self.annotator = self._label_annotator(max(12, round(side / 42)), font)

    def _label_annotator(self, font_size: int, font: str | os.PathLike | None) -> Any:
        file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf" if font is None else Path(font)
        if not file.is_file():
            raise FileNotFoundError(f"The font file {file} does not exist.")
        return self.library.RichLabelAnnotator(
            color=self.library.ColorPalette(self.colors),
            text_color=self.library.ColorPalette(self.contrast),
            font_path=str(file),
            font_size=font_size,
            text_padding=max(2, round(font_size / 4)),
            text_position=self.library.Position.TOP_LEFT,
        )

    def rgb(self) -> np.ndarray:
        """(h, w, 3) uint8."""
        return np.ascontiguousarray(self.pixels[..., ::-1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def draw_regions(self, regions: np.ndarray, class_ids: Sequence[int]) -> None:
        """Fill the regions 0, 1, ... of (H, W), outline them, and name their classes, the large ones first."""
        boxes = self._fill(regions, class_ids)
        areas = np.bincount(regions[regions >= 0].ravel(), minlength=len(class_ids))
        middles = middles_of_regions(regions, len(class_ids))
        labels = []
        for index in np.argsort(-areas, kind="stable").tolist():
            if areas[index]:
                x, y, depth = (value * self.scale for value in middles[index])
                labels.append(_Label(class_ids[index], "", boxes[index], (x, y), depth))
        self._write(labels)

    def draw_objects(self) -> None:
        """Fill the masks, draw the boxes, the small ones on top, and name the objects, the best scores first."""
        found = self.prediction
        class_ids = found.class_ids.tolist()
        boxes = found.boxes.astype(np.float64) * self.scale
        order = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")
        if found.masks is not None:
            regions = np.full(found.size, -1, np.int32)
            for index in order.tolist():
                regions[np.asarray(found.masks[index])] = index
            self._fill(regions, class_ids)
        self._outline_boxes(boxes[order], found.class_ids[order])
        tracks = [-1] * len(boxes) if found.track_ids is None else found.track_ids.tolist()
        scores = [""] * len(boxes) if found.scores is None else [f" {100 * score:.0f}" for score in found.scores]
        endings = [score + (f" #{track}" if track >= 0 else "") for score, track in zip(scores, tracks)]
        self._write([_Label(*item) for item in zip(class_ids, endings, boxes)])

    def list_classes(self, class_ids: Sequence[int], endings: Sequence[str]) -> None:
        """Name classes of the whole image, one below the other."""
        everywhere = np.array([0, 0, *self.size], np.float64)
        self._write([_Label(*item, everywhere, is_listed=True) for item in zip(class_ids, endings)])

    def _fill(self, regions: np.ndarray, class_ids: Sequence[int]) -> np.ndarray:
        """Fill and outline the regions of (H, W); their XYXY boxes (N, 4) in pixels of the canvas."""
        sv = self.library
        enlarged = Image.fromarray(regions.astype(np.int32, copy=False)).resize(self.size, Image.Resampling.NEAREST)
        numbers = np.asarray(enlarged) + 1
        palette = sv.ColorPalette(self.colors)
        edges = _edges(numbers, max(1, round(self.line / 2)))
        fill, outline = sv.MaskAnnotator(palette, OPACITY), sv.MaskAnnotator(palette, 1.0)
        boxes = np.zeros((len(class_ids), 4))
        for index, place in enumerate(find_objects(numbers, len(class_ids))):
            if place is None:
                continue
            rows, columns = place
            boxes[index] = columns.start, rows.start, columns.stop, rows.stop
            for top in range(rows.start, rows.stop, _ROWS):
                part = (slice(top, min(top + _ROWS, rows.stop)), columns)
                inside = numbers[part] == index + 1
                around, class_id = np.array([[0, 0, *inside.shape[::-1]]], np.float32), np.array([class_ids[index]])
                for annotator, mask in ((fill, inside), (outline, inside & edges[part])):
                    region = sv.Detections(around, mask[None], class_id=class_id)
                    self.pixels[part] = annotator.annotate(self.pixels[part].copy(), region)
        return boxes

    def _outline_boxes(self, boxes: np.ndarray, class_ids: np.ndarray) -> None:
        """Draw (N, 4) XYXY, over a line that stands out from the image where the color does not."""
        sv, edge = self.library, self.line / 2
        clipped = np.clip(boxes - (0, 0, 1, 1), edge, np.array(self.size * 2) - 1 - edge).astype(int)
        styles = ((self.contrast, self.line + 2), (self.colors, self.line))
        annotators = [sv.BoxAnnotator(sv.ColorPalette(colors), thickness) for colors, thickness in styles]
        for box, class_id in zip(clipped, class_ids):
            left, top = np.maximum(box[:2] - 2 * self.line, 0)
            place = (slice(top, box[3] + 2 * self.line), slice(left, box[2] + 2 * self.line))
            detection = sv.Detections((box - (left, top, left, top))[None].astype(np.float32), class_id=class_id[None])
            for annotator in annotators:
                self.pixels[place] = annotator.annotate(self.pixels[place].copy(), detection)

    def _write(self, labels: Sequence[_Label]) -> None:
        """Write those labels for which there is room."""
        sv, style = self.library, TextStyle(self.annotator.font, self.annotator.text_padding)
        places = LabelPlaces(*self.size)
        written = []
        for label in labels:
            name = self.prediction.classes.names[label.class_id]
            text = shortened(name, label.ending, style, WIDEST * self.size[0])
            place = places.take(label.corners(style.size(text)), style.size(text))
            if place is not None:
                written.append((text, label.class_id, place))
        if written:
            texts, class_ids, taken = zip(*written)
            anchors = np.array([(left, bottom, right, bottom) for left, _, right, bottom in taken], np.float32)
            detections = sv.Detections(anchors, class_id=np.array(class_ids))
            self.pixels = self.annotator.annotate(self.pixels, detections, list(texts))


def _edges(regions: np.ndarray, width: int) -> np.ndarray:
    """(H, W) bool: whether another region of (H, W) begins within this many pixels, in a row or a column."""
    edges = np.zeros(regions.shape, bool)
    for one, other in ((edges, regions), (edges.T, regions.T)):  # views
        differ = other[width:] != other[:-width]
        one[width:] |= differ
        one[:-width] |= differ
    return edges


def _contrast(color: Color) -> Color:
    """Dark on a bright color, bright on a dark one."""
    red, green, blue = color
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > BRIGHT else PAPER

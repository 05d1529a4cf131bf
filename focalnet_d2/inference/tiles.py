"""Predictions of images that are too large, or whose objects are too small, to be looked at in one piece.

The image is cut into overlapping tiles, each of which is predicted by itself. Objects are put together by `stitching`,
stuff and semantic maps by `label_vote`. Beside the image and the results, a few rows of tiles are in memory at a time.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.structures.cropped_masks import CroppedMask, CroppedMasks

from .image_input import InputImage
from .label_vote import LabelVote
from .prediction import Prediction, Segment
from .stitching import Box, TileObject, margin, stitch
from .tile_grid import Tile, tile_grid

VISIBLE = 0.5  # share of a thing that others, painted before, must leave free, or it is seen as one of them again
_ROWS = 256  # of a map that are counted at a time


@dataclass(frozen=True)
class TileSettings:
    """How images are cut.

    Attributes:
        size: side of a tile in pixels of the image.
        overlap: share of a tile, from 0 to 0.5, that neighbors have in common at least; objects that are smaller than
            it are seen whole by one of them.

    Raises:
        ValueError: a value outside its range.
    """

    size: int
    overlap: float = 0.25

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"A tile size of {self.size} must be at least 1: it counts pixels.")
        if not 0 <= self.overlap <= 0.5:
            raise ValueError(f"An overlap of {self.overlap} must be from 0 to 0.5: it is a share of a tile.")


def predict_tiled(
    predict: Callable[[Iterable[InputImage]], Iterable[Prediction]],
    image: InputImage,
    classes: ClassMap,
    settings: TileSettings,
) -> Prediction:
    """The prediction of one image from those of its tiles.

    Args:
        predict: predictions of images, in their order.
        image: (H, W, 3).
        classes: of the model.

    Raises:
        ValueError: the model is a classifier, which judges an image as a whole.
    """
    size = (image.pixels.shape[0], image.pixels.shape[1])
    collected = _Collected(size)
    tiles = list(chain(*tile_grid(size, settings.size, int(settings.size * settings.overlap))))
    for tile, prediction in zip(tiles, predict(_crop(image, tile) for tile in tiles), strict=True):
        collected.add(tile, prediction)
    return collected.result(image, classes)


def _crop(image: InputImage, tile: Tile) -> InputImage:
    return image.window(tile.top, tile.bottom, tile.left, tile.right)


@dataclass
class _Collected:
    """What the tiles of an image of `size` (H, W) have said so far."""

    size: tuple[int, int]
    tiles: list[Tile] = field(default_factory=list)
    objects: list[TileObject] = field(default_factory=list)
    things: list[TileObject] = field(default_factory=list)
    stuff: LabelVote | None = None
    semantic: LabelVote | None = None
    has_boxes: bool = False
    has_masks: bool = False

    def add(self, tile: Tile, prediction: Prediction) -> None:
        """Take the prediction of a tile."""
        if prediction.class_scores is not None:
            raise ValueError("Tiles are for models that find something in an image: a classifier judges it as a whole.")
        self.tiles.append(tile)
        if prediction.boxes is not None:
            self.has_boxes, self.has_masks = True, prediction.masks is not None
            self.objects += self._objects(tile, prediction)
        if prediction.panoptic_map is not None:
            self.stuff = self.stuff or LabelVote(self.size, np.int32)  # becomes the panoptic map
            self.stuff.add(tile, *_stuff_votes(prediction))
            self.things += self._things(tile, prediction)
        if prediction.semantic_map is not None:
            self.semantic = self.semantic or LabelVote(self.size)
            self.semantic.add(tile, prediction.semantic_map + 1)

    def _objects(self, tile: Tile, prediction: Prediction) -> Iterator[TileObject]:
        for index, (left, top, right, bottom) in enumerate(prediction.boxes.tolist()):
            mask = None
            if prediction.masks is not None:
                mask = CroppedMask.around(np.asarray(prediction.masks[index]), tile.top, tile.left)
            box = (left + tile.left, top + tile.top, right + tile.left, bottom + tile.top)
            yield self._object(tile, int(prediction.class_ids[index]), float(prediction.scores[index]), box, mask)

    def _things(self, tile: Tile, prediction: Prediction) -> Iterator[TileObject]:
        for segment in prediction.segments:
            if segment.is_thing:
                mask = CroppedMask.around(prediction.panoptic_map == segment.id, tile.top, tile.left)
                box = (float(mask.left), float(mask.top), float(mask.right), float(mask.bottom))
                yield self._object(tile, segment.class_id, segment.score, box, mask)

    def _object(self, tile: Tile, class_id: int, score: float, box: Box, mask: CroppedMask | None) -> TileObject:
        found = TileObject(len(self.tiles) - 1, class_id, score, box, mask, math.inf)
        return replace(found, margin=margin(found.extent, tile, self.size))

    def result(self, image: InputImage, classes: ClassMap) -> Prediction:
        """The prediction of the whole image."""
        found = Prediction(image.pixels, classes, image.path)
        if self.has_boxes:
            found = replace(found, **self._stitched_objects())
        if self.stuff is not None:
            things = stitch(self.things, self.tiles, self.size)
            labels, segments = compose_panoptic(self.stuff.finish(), things, len(classes.classes))
            found = replace(found, panoptic_map=labels, segments=segments)
        if self.semantic is not None:
            semantic = self.semantic.finish()
            semantic -= 1
            found = replace(found, semantic_map=semantic)
        return found

    def _stitched_objects(self) -> dict[str, object]:
        objects = stitch(self.objects, self.tiles, self.size)
        masks = [one.mask for one in objects if one.mask is not None]
        return {
            "boxes": np.array([one.box for one in objects], np.float32).reshape(-1, 4),
            "scores": np.array([one.score for one in objects], np.float32),
            "class_ids": np.array([one.class_id for one in objects], np.int64),
            "masks": CroppedMasks(masks, self.size) if self.has_masks else None,
        }


def _stuff_votes(prediction: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) int32: class + 1 where there is stuff, else 0; and (K + 1,) float32, the scores of these labels."""
    labels = np.zeros(max((segment.id for segment in prediction.segments), default=0) + 1, np.int32)
    scores = np.zeros(len(prediction.classes.classes) + 1, np.float32)
    for segment in prediction.segments:
        if not segment.is_thing:
            labels[segment.id] = segment.class_id + 1
            scores[segment.class_id + 1] = segment.score
    return labels[prediction.panoptic_map], scores


def compose_panoptic(
    labels: np.ndarray, things: Sequence[TileObject], num_classes: int
) -> tuple[np.ndarray, tuple[Segment, ...]]:
    """Paint things over stuff: those that no tile cuts first, the larger ones before the smaller ones.

    A thing gets the pixels that are free of other things. It is left out where these are less than half of its own:
    then it was found again by a tile that saw a part of it.

    Args:
        labels: (H, W) int32, class + 1 of stuff, 0 for none; becomes the panoptic map.
        things: of the image, with masks.
        num_classes: classes K; stuff has segment ids up to K, things those above.
    """
    segments = []
    masks = [(one, one.mask) for one in things if one.mask is not None and one.mask.pixels.any()]
    for one, mask in sorted(masks, key=lambda pair: (pair[0].is_cut, -np.count_nonzero(pair[1].pixels))):
        window = labels[mask.top : mask.bottom, mask.left : mask.right]
        free = mask.pixels & (window <= num_classes)
        if np.count_nonzero(free) >= VISIBLE * np.count_nonzero(mask.pixels):
            segments.append(Segment(num_classes + 1 + len(segments), one.class_id, True))
            window[free] = segments[-1].id
    counts = np.zeros(num_classes + 1 + len(segments), np.int64)
    for start in range(0, len(labels), _ROWS):
        counts += np.bincount(labels[start : start + _ROWS].ravel(), minlength=len(counts))
    stuff = [Segment(label, label - 1, False) for label in range(1, num_classes + 1) if counts[label]]
    return labels, (*stuff, *segments)

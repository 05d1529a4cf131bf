"""Objects of an image from those of its overlapping tiles.

Two tiles see the same part of an object where they overlap, so objects of one class whose parts there agree are one. Of
such a group the best object that no edge of its tile cuts is taken as it is; where all are cut, their parts are joined.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from focalnet_d2.structures.cropped_masks import CroppedMask

from .tile_grid import Tile

EDGE = 2  # pixels: an object that comes so near to an edge of its tile may go on behind it


@dataclass(frozen=True, eq=False)
class TileObject:
    """An object that was found in a tile.

    Attributes:
        tile: index of the tile, in the order in which they were looked at.
        class_id: contiguous.
        score: of the object.
        box: left, top, right, bottom in pixels of the image.
        mask: in pixels of the image; None for a box alone.
        cut: an edge of the tile that lies within the image may cut it.
    """

    tile: int
    class_id: int
    score: float
    box: tuple[float, float, float, float]
    mask: CroppedMask | None
    cut: bool


def is_cut(box: Sequence[float], tile: Tile, size: tuple[int, int]) -> bool:
    """Whether a box, left, top, right, bottom, reaches an edge of its tile that is not one of the image (H, W)."""
    left, top, right, bottom = box
    return (
        (tile.left > 0 and left < tile.left + EDGE)
        or (tile.top > 0 and top < tile.top + EDGE)
        or (tile.right < size[1] and right > tile.right - EDGE)
        or (tile.bottom < size[0] and bottom > tile.bottom - EDGE)
    )


def stitch(objects: Sequence[TileObject], tiles: Sequence[Tile], threshold: float = 0.5) -> list[TileObject]:
    """The objects of the image, best score first.

    Args:
        objects: of all tiles.
        tiles: all of them.
        threshold: IoU in the overlap of two tiles above which two objects of one class are one.
    """
    parents = list(range(len(objects)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    for first, second in _same_objects(objects, tiles, threshold):
        parents[root(second)] = root(first)
    groups: dict[int, list[TileObject]] = {}
    for index, one in enumerate(objects):
        groups.setdefault(root(index), []).append(one)
    return sorted(map(_merge, groups.values()), key=lambda one: -one.score)


def _same_objects(objects: Sequence[TileObject], tiles: Sequence[Tile], threshold: float) -> Iterator[tuple[int, int]]:
    """Pairs of indices; no object has two partners in one other tile, the pairs that agree best come first."""
    of_tile: list[list[int]] = [[] for _ in tiles]
    for index, one in enumerate(objects):
        of_tile[one.tile].append(index)
    for first, tile in enumerate(tiles):
        for second in range(first):
            shared = tile.overlap(tiles[second])
            if shared is None:
                continue
            agreements = [
                (iou, a, b)
                for a in _touching(objects, of_tile[first], shared)
                for b in _touching(objects, of_tile[second], shared)
                if objects[a].class_id == objects[b].class_id
                and (iou := _iou_within(objects[a], objects[b], shared)) > threshold
            ]
            taken: set[int] = set()
            for _, a, b in sorted(agreements, key=lambda pair: -pair[0]):
                if a not in taken and b not in taken:
                    taken |= {a, b}
                    yield a, b


def _touching(objects: Sequence[TileObject], indices: Sequence[int], window: Tile) -> list[int]:
    return [index for index in indices if _clip(objects[index].box, window) is not None]


def _clip(box: Sequence[float], window: Tile) -> tuple[float, float, float, float] | None:
    left, top = max(box[0], window.left), max(box[1], window.top)
    right, bottom = min(box[2], window.right), min(box[3], window.bottom)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _iou_within(first: TileObject, second: TileObject, window: Tile) -> float:
    """Intersection over union of what two objects have in a window: of their masks, else of their boxes."""
    a, b = _clip(first.box, window), _clip(second.box, window)
    if a is None or b is None:
        return 0.0
    common = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    if common == 0 or first.mask is None or second.mask is None:
        return common / (_area(a) + _area(b) - common)
    left, top = int(min(a[0], b[0])), int(min(a[1], b[1]))
    region = (top, left, int(np.ceil(max(a[3], b[3]))), int(np.ceil(max(a[2], b[2]))))
    one, other = first.mask.within(*region), second.mask.within(*region)
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 0.0


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _merge(group: Sequence[TileObject]) -> TileObject:
    """One object for all that are the same."""
    best = max(group, key=lambda one: (not one.cut, one.score))
    if not best.cut or len(group) == 1:
        return best
    corners = np.array([one.box for one in group])
    left, top = corners[:, :2].min(0).tolist()
    right, bottom = corners[:, 2:].max(0).tolist()
    mask = None if best.mask is None else CroppedMask.union([one.mask for one in group if one.mask is not None])
    return TileObject(best.tile, best.class_id, max(one.score for one in group), (left, top, right, bottom), mask, True)

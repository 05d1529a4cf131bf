"""Objects of an image from those of its overlapping tiles.

Two tiles see the same part of an object where they overlap, so objects of one class whose parts there agree are one. Of
such a group the object is taken whose tile sees most around it, up to an eighth of a tile; of equals the best. Where
edges of tiles cut all of them, their parts are joined. What a tile has found that sees less around it than another one,
which has not found it, is left out: of every place the tiles that see it best are believed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from focalnet_d2.structures.cropped_masks import CroppedMask

from .tile_grid import Tile

WELL = 1 / 8  # of a tile's shorter side: who sees so much around an object sees it as well as anybody
EDGE = 2  # pixels: an object that comes so near to an edge of its tile may go on behind it

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the image


@dataclass(frozen=True, eq=False)
class TileObject:
    """An object that was found in a tile.

    Attributes:
        tile: index of the tile, in the order in which they were looked at.
        class_id: contiguous.
        score: of the object.
        box: in pixels of the image.
        mask: in pixels of the image; None for a box alone.
        margin: how much the tile sees around it, see `margin`.
    """

    tile: int
    class_id: int
    score: float
    box: Box
    mask: CroppedMask | None
    margin: float

    @property
    def is_cut(self) -> bool:
        """Whether an edge of the tile may cut it."""
        return self.margin < EDGE

    @property
    def extent(self) -> Box:
        """The box around its pixels, or else its box."""
        mask = self.mask
        return self.box if mask is None or not mask.pixels.size else (mask.left, mask.top, mask.right, mask.bottom)


def margin(extent: Box, tile: Tile, size: tuple[int, int]) -> float:
    """How much a tile sees around an object, in pixels.

    Args:
        extent: a box.
        size: (H, W) of the image, whose own edges do not count.

    Returns:
        The distance to the next edge of the tile, at most `WELL`; negative where the edge cuts the box.
    """
    left, top, right, bottom = extent
    return min(
        left - tile.left if tile.left > 0 else math.inf,
        top - tile.top if tile.top > 0 else math.inf,
        tile.right - right if tile.right < size[1] else math.inf,
        tile.bottom - bottom if tile.bottom < size[0] else math.inf,
        WELL * min(tile.bottom - tile.top, tile.right - tile.left),
    )


def stitch(
    objects: Sequence[TileObject], tiles: Sequence[Tile], size: tuple[int, int], threshold: float = 0.5
) -> list[TileObject]:
    """The objects of the image, best score first.

    Args:
        objects: of all tiles.
        tiles: all of them.
        size: (H, W) of the image.
        threshold: IoU in the overlap of two tiles above which two objects of one class are one.
    """
    neighbors = [[index for index, other in enumerate(tiles) if tile.overlap(other)] for tile in tiles]
    parents = list(range(len(objects)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    for first, second in _same_objects(objects, tiles, neighbors, threshold):
        parents[root(second)] = root(first)
    groups: dict[int, list[TileObject]] = {}
    for index, one in enumerate(objects):
        groups.setdefault(root(index), []).append(one)
    merged = [(_merge(group), {one.tile for one in group}) for group in groups.values()]
    believed = [one for one, seen_by in merged if seen_by & _best_views(one, tiles, neighbors, size)]
    return sorted(believed, key=lambda one: -one.score)


def _best_views(
    one: TileObject, tiles: Sequence[Tile], neighbors: Sequence[list[int]], size: tuple[int, int]
) -> set[int]:
    """Indices of the tiles that see most around an object."""
    views = {index: margin(one.extent, tiles[index], size) for index in neighbors[one.tile]}
    most = max(views.values())
    return {index for index, seen in views.items() if seen == most}


def _same_objects(
    objects: Sequence[TileObject], tiles: Sequence[Tile], neighbors: Sequence[list[int]], threshold: float
) -> Iterator[tuple[int, int]]:
    """Pairs of indices; no object has two partners in one other tile, the pairs with the best scores come first.

    A model often finds an object twice, the second time with a low score: going by agreement would pair such a one with
    the good one of the other tile.
    """
    of_tile: list[list[int]] = [[] for _ in tiles]
    for index, one in enumerate(objects):
        of_tile[one.tile].append(index)
    for first, tile in enumerate(tiles):
        for second in neighbors[first]:
            shared = tile.overlap(tiles[second])
            if second >= first or shared is None:
                continue
            agreements = [
                (min(objects[a].score, objects[b].score), iou, a, b)
                for a in _touching(objects, of_tile[first], shared)
                for b in _touching(objects, of_tile[second], shared)
                if objects[a].class_id == objects[b].class_id
                and (iou := _iou_within(objects[a], objects[b], shared)) > threshold
            ]
            taken: set[int] = set()
            for _, _, a, b in sorted(agreements, reverse=True):
                if a not in taken and b not in taken:
                    taken |= {a, b}
                    yield a, b


def _touching(objects: Sequence[TileObject], indices: Sequence[int], window: Tile) -> list[int]:
    return [index for index in indices if _clip(objects[index].box, window) is not None]


def _clip(box: Sequence[float], window: Tile) -> Box | None:
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
    best = max(group, key=lambda one: (one.margin, one.score))
    if not best.is_cut or len(group) == 1:
        return best
    corners = np.array([one.box for one in group])
    left, top = corners[:, :2].min(0).tolist()
    right, bottom = corners[:, 2:].max(0).tolist()
    mask = None if best.mask is None else CroppedMask.union([one.mask for one in group if one.mask is not None])
    score = max(one.score for one in group)
    return TileObject(best.tile, best.class_id, score, (left, top, right, bottom), mask, best.margin)

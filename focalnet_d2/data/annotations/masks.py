"""Masks of COCO's annotations: polygons and run lengths, checked before a decoder sees them."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from pycocotools import mask as mask_codec

from .json_file import Entry
from .run_lengths import fill_exactly

Segmentation = list[list[float]] | dict[str, Any]
Size = tuple[int, int]  # height, width


class UnusableMaskError(ValueError):
    """A phrase that says what an annotation has or lacks.

    Attributes:
        kind: of the fault.
    """

    def __init__(self, kind: str, phrase: str) -> None:
        super().__init__(phrase)
        self.kind = kind


def find_unusable_masks(annotations: Sequence[Entry], sizes: Mapping[Any, Size]) -> dict[int, UnusableMaskError]:
    """What is wrong with the masks that cannot be used, by the place of their annotations.

    Of usable ones, polygons of fewer than three corners beside others are left out of `segmentation`.

    Args:
        sizes: height and width of each image by its id.
    """
    problems: dict[int, UnusableMaskError] = {}
    compressed = []
    for index in _doubtful([annotation.get("segmentation") for annotation in annotations]):
        annotation = annotations[index]
        try:
            mask = usable_mask(annotation.get("segmentation"), sizes[annotation["image_id"]])
        except UnusableMaskError as error:
            problems[index] = error.with_traceback(None)  # which would keep all that its frames know
            continue
        annotation["segmentation"] = mask
        if _is_compressed(mask):
            compressed.append(index)
    return problems | _wrong_run_lengths(annotations, compressed)


def _doubtful(masks: list[Any]) -> Sequence[int]:
    """Places of the masks that `usable_mask` has to look at one by one: all but polygons, if every polygon is good."""
    others = [index for index, mask in enumerate(masks) if type(mask) is not list or not mask]
    polygons = (
        chain.from_iterable(mask for mask in masks if type(mask) is list) if others else chain.from_iterable(masks)
    )
    return others if _are_polygons(list(polygons)) else range(len(masks))


def _are_polygons(polygons: list[Any]) -> bool:
    """Whether all are surely polygons by the rules of `is_polygon`, which says what is wrong with the others."""
    if not set(map(type, polygons)) <= {list}:
        return False
    lengths = set(map(len, polygons))
    if min(lengths, default=6) < 6 or any(length % 2 for length in lengths):
        return False
    try:
        return all(map(math.isfinite, map(sum, polygons)))
    except (TypeError, OverflowError):
        return False


def _wrong_run_lengths(annotations: Sequence[Entry], compressed: list[int]) -> dict[int, UnusableMaskError]:
    masks = [annotations[index]["segmentation"] for index in compressed]
    pixels = [mask["size"][0] * mask["size"][1] for mask in masks]
    fits = fill_exactly([mask["counts"] for mask in masks], pixels) if masks else ()
    phrase = "has compressed run lengths that are damaged or do not add up to {} pixels"
    return {
        index: UnusableMaskError("run-lengths-total", phrase.format(count))
        for index, count, good in zip(compressed, pixels, fits)
        if not good
    }


def usable_mask(segmentation: Any, size: Size) -> Segmentation:
    """A mask whose form and size are right; text of compressed run lengths is left to `fill_exactly`.

    Args:
        size: height and width of the image.

    Raises:
        UnusableMaskError: it is none.
    """
    if not segmentation:
        raise UnusableMaskError("mask-missing", "has no segmentation")
    if isinstance(segmentation, dict):
        check_run_lengths(segmentation, size)
        return segmentation
    if not isinstance(segmentation, list):
        raise UnusableMaskError(
            "mask-form", f"has a segmentation that is neither polygons nor run lengths: {str(segmentation)[:40]}"
        )
    polygons = [polygon for polygon in segmentation if is_polygon(polygon)]
    if not polygons:
        raise UnusableMaskError("polygon-too-few-points", "has no polygon of three or more corners")
    return segmentation if len(polygons) == len(segmentation) else polygons


def is_polygon(polygon: Any) -> bool:
    """Whether a part of a mask has three corners or more; False for fewer.

    Raises:
        UnusableMaskError: it is no polygon at all.
    """
    if not isinstance(polygon, list):
        shown = "run lengths within a list" if isinstance(polygon, dict) else f"{str(polygon)[:40]} for a polygon"
        raise UnusableMaskError(
            "mask-form", f"has {shown}; polygons are lists of x, y, x, y, ... within a list, run lengths stand alone"
        )
    if len(polygon) % 2:
        raise UnusableMaskError("polygon-form", f"has a polygon of {len(polygon)} numbers, which are no pairs x, y")
    try:
        if not math.isfinite(sum(polygon)):  # nan and infinity spread to the sum, anything else is refused by it
            raise UnusableMaskError("polygon-form", "has a polygon with a number that is not finite")
    except (TypeError, OverflowError):
        raise UnusableMaskError("polygon-form", "has a polygon with something else than numbers") from None
    return len(polygon) >= 6


def check_run_lengths(mask: dict[str, Any], size: Size) -> None:
    """Checks run lengths but for the text of compressed ones.

    Raises:
        UnusableMaskError: they cannot be used.
    """
    height, width = size
    if not is_mask_size(mask.get("size")) or list(mask["size"]) != [height, width]:
        raise UnusableMaskError(
            "run-lengths-size",
            f"has a mask of height and width {mask.get('size')}, but the image has {[height, width]}",
        )
    counts = mask.get("counts")
    if isinstance(counts, list):
        if not set(map(type, counts)) <= {int} or min(counts, default=0) < 0:
            raise UnusableMaskError("run-lengths-form", "has run lengths that are not whole numbers of 0 or more")
        if (total := sum(counts)) != height * width:
            raise UnusableMaskError(
                "run-lengths-total", f"has run lengths of {total} pixels, but the image has {height * width}"
            )
    elif not isinstance(counts, str | bytes):
        raise UnusableMaskError(
            "run-lengths-form", "has run lengths without counts, which are a list of numbers or compressed text"
        )


def compressed(mask: Any, size: Size) -> Any:
    """Compressed run lengths of a usable mask: one dict, or one for each polygon.

    Args:
        size: height and width of the image.
    """
    return mask if _is_compressed(mask) else mask_codec.frPyObjects(mask, *size)


def mask_box(mask: Any) -> list[float] | None:
    """The XYWH box around polygons, or around run lengths that are whole; None of anything else."""
    if isinstance(mask, dict) and is_mask_size(mask.get("size")):
        return _runs_box(mask)
    with suppress(ValueError, TypeError):
        corners = [number for polygon in mask if is_polygon(polygon) for number in polygon]
        left, top = min(corners[::2]), min(corners[1::2])
        return [left, top, max(corners[::2]) - left, max(corners[1::2]) - top]
    return None


def _runs_box(mask: dict[str, Any]) -> list[float] | None:
    size = tuple(mask["size"])
    with suppress(ValueError):
        check_run_lengths(mask, size)
        encoded = compressed(mask, size)
        if fill_exactly([encoded["counts"]], [size[0] * size[1]])[0] and mask_codec.area(encoded):
            return mask_codec.toBbox(encoded).tolist()
    return None


def _is_compressed(mask: Segmentation) -> bool:
    return isinstance(mask, dict) and not isinstance(mask["counts"], list)


def is_mask_size(size: Any) -> bool:
    """Whether this is a height and a width in whole pixels."""
    return isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)

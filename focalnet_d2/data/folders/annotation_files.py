"""Which annotation file, or folder of such files, belongs to which part."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from focalnet_d2.utils.text import some_of

from ..annotations.faults import refusal
from ..shards.files import exists
from .layout import WantedParts
from .listing import Listing, is_below
from .part_names import grouped_by_part, in_order, part_of_path

logger = logging.getLogger(__name__)


def assign_parts(
    listing: Listing,
    candidates: Sequence[str],
    wanted: WantedParts,
    *,
    images_of: Callable[[str, str], str] | None = None,
) -> dict[str, str]:
    """The candidate of each part: as wanted, else by its name; a single one that says no part is the training part.

    Args:
        candidates: relative paths of annotation files, or of folders, that fit the layout.
        images_of: (candidate, part) -> relative folder of its images, by which a part may be wanted, too.

    Raises:
        ValueError: several fit a part, or none what is wanted.
    """
    parts = {}
    for part, value in wanted.items():
        if value:
            parts[part] = _wanted(listing, candidates, part, value, images_of)
    rest = [path for path in candidates if path not in parts.values()]
    others, unnamed = grouped_by_part(rest, part_of_path, parts)
    if unnamed:
        logger.warning("%s: %s left out, because no part is in the name.", listing.root, some_of(unnamed))
    for part, paths in others.items():
        if part not in parts:
            parts[part] = _only(listing, paths, part)
    return {part: parts[part] for part in in_order(parts)}


def _wanted(
    listing: Listing,
    candidates: Sequence[str],
    part: str,
    value: str,
    images_of: Callable[[str, str], str] | None,
) -> str:
    """The candidate that a user named, by itself, its folder or the folder of its images."""
    path = relative_to_root(listing, part, value)
    inside = [one for one in candidates if one == path or is_below(one, path)]
    if not inside and images_of is not None:
        inside = [one for one in candidates if f"{images_of(one, part)}/".startswith(f"{path}/")]
    named = [one for one in inside if part_of_path(one.removeprefix(path)) == part]
    chosen = named if len(inside) > 1 and named else inside
    if not chosen:
        raise ValueError(
            f"data.{part}={value} has no annotations of this layout; {listing.root} has them in {some_of(candidates)}."
        )
    return _only(listing, chosen, part)


def relative_to_root(listing: Listing, part: str, value: str) -> str:
    """The path that a user wrote, relative to the root of the data set.

    Raises:
        ValueError: there is no such file or folder below it.
    """
    path = Path(os.path.normpath(listing.root / os.path.expanduser(value)))
    if not exists(path):
        raise ValueError(f"data.{part}={value}: {path} does not exist; write a path relative to {listing.root}.")
    if not path.is_relative_to(listing.root):
        raise ValueError(f"data.{part}={value} is outside {listing.root}: make data.root the folder of all parts.")
    relative = path.relative_to(listing.root).as_posix()
    return "" if relative == "." else relative


def _only(listing: Listing, paths: Sequence[str], part: str) -> str:
    if len(paths) > 1:
        choices = " or ".join(f"data.{part}={path}" for path in paths[:4])
        message = f"{listing.root} has {len(paths)} candidates for the part {part!r}: choose one by {choices}."
        raise refusal("several-candidates", listing.root, message, paths)
    return paths[0]


def described_parts(parts: Mapping[str, str], counts: Mapping[str, int], what: str = "images") -> str:
    """In one phrase which file is which part: "train: annotations/a.json (61 images), val: ..."."""
    return ", ".join(f"{part}: {path or '.'} ({counts[part]} {what})" for part, path in parts.items())

"""Where the images are that an annotation file names, wherever the tool that wrote it kept them.

A name is looked for as it stands below every folder, and if that finds less, by its base name, which must be unique
among those that have the most of its last folders.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Fault, Report, refusal
from .label_pairs import LABEL_FOLDERS
from .listing import Listing, common_folder
from .part_names import part_of_path

_OF_LABELS = LABEL_FOLDERS | {"ids", "panoptic", "segmentationobject", "stuffthingmaps"}


@dataclass(frozen=True)
class NamedFolder:
    """Where named files lie.

    Attributes:
        folder: relative to the root of the listing.
        search: False where the names are paths below the folder; True where they are looked for in and below it.
    """

    folder: str
    search: bool


def plain_name(name: str) -> str:
    """A name of an annotation file as a relative path with "/": without drives, "." and ".."."""
    steps = re.sub(r"^\w+:(?=[\\/])", "", name).replace("\\", "/").split("/")
    return "/".join(step for step in steps if step not in ("", ".", ".."))


def is_called_labels(folder: str) -> bool:
    """Whether a folder has a name that label files are kept under."""
    return bool(set(re.split(r"[^a-z]+", folder.lower())) & _OF_LABELS)


def locate(
    listing: Listing,
    names: Sequence[str],
    source: str,
    part: str,
    *,
    labels: bool = False,
    has_labels: Callable[[str], bool] = is_called_labels,
) -> NamedFolder:
    """Where most of the named files lie.

    Args:
        names: as an annotation file has them.
        source: that file, relative to the root; a folder near to it is preferred.
        part: a folder of this part is preferred.
        labels: whether label files are meant, which may have the names of the images.
        has_labels: tells folders of label files from those of images.

    Raises:
        ValueError: none of the files is there, or two folders have them all and nothing tells which is meant.
    """
    counts = Counter(folder for name in names for folder in _folders_with(listing, plain_name(name)))
    is_of_labels = {folder: has_labels(folder) for folder in counts}
    alike = Counter({folder: count for folder, count in counts.items() if is_of_labels[folder] == labels})
    least = 1 if labels else len(names) / 2  # a folder of images may be called labels; one that lacks a few is none
    if max(alike.values(), default=0) >= least:  # images and labels may have the same names, and either one more
        counts = alike
    most = max(counts.values(), default=0)
    if most < len(names):
        paths = (_by_base_name(listing, plain_name(name)) for name in names)
        found = Counter(own[0].rpartition("/")[0] for own in paths if len(own) == 1)  # by folder
        if found.total() > most:
            return NamedFolder(common_folder(f"{folder}/" for folder in found), search=True)
    if not most:
        plain = list(map(plain_name, names))
        message = (
            f"None of the {len(plain)} files that {listing.root / source} names is in {listing.root}, "
            f"{some_of(plain, 2)} for example: put them there, or make data.root the folder that has both (this one "
            f"has {listing.counts()})."
        )
        raise refusal("missing-images", listing.root / source, message, plain)
    folders = [folder for folder, count in counts.items() if count == most]
    ranks = {folder: (is_of_labels[folder] == labels, *_rank(folder, source, part)) for folder in folders}
    best = [folder for folder in folders if ranks[folder] == max(ranks.values())]
    if len(best) > 1:
        message = (
            f"The files that {listing.root / source} names are in {len(best)} folders, "
            f"{some_of(sorted(map(listing.absolute, best)))}: keep one of them, or name the folder in file_name."
        )
        raise refusal("ambiguous-file-name", listing.root / source, message, sorted(best))
    return NamedFolder(best[0], search=False)


def _folders_with(listing: Listing, name: str) -> list[str]:
    """Folders below which a relative path exists."""
    paths = listing.images_named(name.rpartition("/")[2])
    return [path[: -len(name)].rstrip("/") for path in paths if path == name or path.endswith(f"/{name}")]


def _by_base_name(listing: Listing, name: str) -> list[str]:
    """Paths of the images that a name may mean: those of its base name that have the most of its last folders, too."""
    paths = listing.images_named(name.rpartition("/")[2])
    if len(paths) < 2:
        return paths
    shared = [_common_end(path, name) for path in paths]
    return [path for path, steps in zip(paths, shared, strict=True) if steps == max(shared)]


def _common_end(path: str, other: str) -> int:
    """How many steps two relative paths have in common, from the last one on."""
    pairs = zip(reversed(path.split("/")), reversed(other.split("/")))
    return next(
        (number for number, (one, two) in enumerate(pairs) if one != two), min(path.count("/"), other.count("/")) + 1
    )


def _rank(folder: str, source: str, part: str) -> tuple[int, int, bool]:
    """How well a folder fits: does it belong to the part, how near is it to the file, does it have the file's name."""
    own = part_of_path(folder)
    steps, others = PurePosixPath(folder).parts, PurePosixPath(source).parent.parts
    shared = next((n for n, (a, b) in enumerate(zip(steps, others)) if a != b), min(len(steps), len(others)))
    nearness = 2 * shared - len(steps) - len(others)
    has_its_name = folder.rpartition("/")[2] == PurePosixPath(source).stem
    return int(own == part) - int(own not in ("", part)), nearness, has_its_name


class NameResolver:
    """Absolute paths of named files of one part.

    Args:
        folder: absolute folder of the files.
        search: see `NamedFolder`.
        source: what names the files, for faults.
    """

    def __init__(self, folder: str, search: bool, source: str) -> None:
        self.folder, self.source = folder, source
        self._listing = Listing(folder) if search else None

    def path_of(self, name: str, report: Report) -> str:
        """The path of a file, also where it does not exist; reports a name that several files may have."""
        plain = plain_name(name)
        paths = [] if self._listing is None else _by_base_name(self._listing, plain)
        if len(paths) > 1:
            message = (
                f"{self.source} names the file {name!r}, but {some_of(paths)} in {self.folder} may all be meant: "
                "write the folder into file_name."
            )
            report(Fault("ambiguous-file-name", "error", self.source, message, (name,)))
        return str(Path(self.folder, paths[0] if paths else plain))

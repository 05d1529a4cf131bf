"""The files below a folder, listed once for all layouts that look at it."""

import logging
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from heapq import merge
from pathlib import Path, PurePosixPath

from focalnet_d2.utils.warnings_once import warn_once

from ..shards.files import is_folder, names_below
from ..shards.index import shard_index
from .stored_texts import KeyedTexts, StoredTexts, sorted_texts

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".jfif", ".ppm", ".pgm")
MAX_DEPTH = 8  # folders below the root
_NOWHERE = "\0"
_NO_DATA = {"__MACOSX", "__pycache__", "lost+found"}

logger = logging.getLogger(__name__)


class Listing:
    """The files below a folder; hidden ones, caches and what lies deeper than `MAX_DEPTH` are left out.

    Images in shards (`data/shards`) are among them as if the shards were unpacked.

    Args:
        root: the folder.

    Attributes:
        root: absolute.
        files: paths relative to the root, with "/", sorted.
        left_out: those of folders that cannot be read or lie too deep, and of links that lead nowhere.

    Raises:
        FileNotFoundError: there is no such folder, or it is a file.
        ValueError: a shard that cannot be used, or an image that is in a shard and elsewhere, too.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(os.path.abspath(os.path.expanduser(root)))
        if self.root.is_file():
            raise FileNotFoundError(f"{self.root} is a file: name the folder that has it and the images.")
        if not is_folder(self.root):
            raise FileNotFoundError(f"The data folder {self.root} does not exist: correct data.root.")
        self.left_out: list[str] = []
        self.files: Sequence[str] = StoredTexts(_each_once(str(self.root), self._found()))

    def _found(self) -> Iterator[str]:
        """Relative paths of all files, sorted."""
        root = str(self.root)
        on_disk = _walk(root, "", frozenset(), self.left_out) if self.root.is_dir() else ()
        return merge(on_disk, _shown(root, "", names_below(root), self.left_out))

    def with_suffix(self, *suffixes: str) -> Sequence[str]:
        """The files with one of these suffixes, which are in small letters and begin with a dot."""
        return StoredTexts(path for path in self.files if path.lower().endswith(suffixes))

    @cached_property
    def images(self) -> Sequence[str]:
        """The files that are images by their suffix."""
        return self.with_suffix(*IMAGE_SUFFIXES)

    @cached_property
    def image_counts(self) -> Counter[str]:
        """How many images lie in a folder itself, by its path; "" is the root."""
        return Counter(path.rpartition("/")[0] for path in self.images)

    def images_in(self, folder: str) -> Iterator[str]:
        """Paths of the images that lie in a folder itself."""
        return (path for path in self.images if path.rpartition("/")[0] == folder)

    def images_named(self, name: str) -> list[str]:
        """Paths of the images with a base name."""
        return list(self._images_by_name.found(name))

    @cached_property
    def _images_by_name(self) -> KeyedTexts:
        return KeyedTexts(self.images, lambda path: path.rpartition("/")[2])

    @cached_property
    def folders(self) -> list[str]:
        """The folders that have a file in or below them, without the root, sorted."""
        parents = {parent for path in {path.rpartition("/")[0] for path in self.files} for parent in ancestors(path)}
        return sorted(parents)

    def below(self, folder: str, paths: Sequence[str]) -> Sequence[str]:
        """Those of the relative paths that lie below a relative folder; "" is the root."""
        return StoredTexts(path for path in paths if is_below(path, folder)) if folder else paths

    def absolute(self, path: str) -> str:
        """The absolute path of a relative one; "" is the root."""
        return str(self.root / path)

    def counts(self) -> str:
        """How many files there are by suffix, for messages: "3 .jpg, 1 .txt"."""
        suffixes = Counter(PurePosixPath(path).suffix.lower() or "without suffix" for path in self.files)
        return ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(8)) or "no file"


def is_below(path: str, folder: str) -> bool:
    """Whether a relative path lies below a relative folder; "" is the root."""
    return not folder or path.startswith(f"{folder}/")


def common_folder(paths: Iterable[str]) -> str:
    """The deepest folder that relative paths of files are all below; "" is the root."""
    return posixpath.commonpath({f"/{path.rpartition('/')[0]}" for path in paths}).strip("/")


def ancestors(path: str) -> Iterator[str]:
    """A relative folder and those above it, from the deepest to the highest, without the root."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _walk(root: str, folder: str, above: frozenset[tuple[int, int]], left_out: list[str]) -> Iterator[str]:
    """Relative paths of the files in and below a relative folder, sorted.

    Args:
        above: device and number of the folders on the way from the root; a link to one of them is not followed.
        left_out: gets the paths of what cannot be looked at.
    """
    path = os.path.join(root, folder)
    try:
        status = os.stat(path)
        names = _names(path)
    except OSError:  # it may not be read
        left_out.append(folder)
        return
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    if len(above) > MAX_DEPTH:
        left_out.append(folder)
        return
    on_disk = _on_disk(root, folder, names, above | {identity}, left_out)
    index = shard_index(path)
    yield from on_disk if index is None else merge(on_disk, _shown(root, folder, index.below(""), left_out))


def _on_disk(
    root: str, folder: str, names: Iterable[str], above: frozenset[tuple[int, int]], left_out: list[str]
) -> Iterator[str]:
    """Relative paths of the files of some names in a relative folder, and of those below it."""
    for name in names:
        relative = f"{folder}/{name}" if folder else name
        if name.endswith("/"):
            yield from _walk(root, relative[:-1], above, left_out)
        elif name.endswith(_NOWHERE):
            left_out.append(relative[:-1])
        else:
            yield relative


def _shown(root: str, folder: str, names: Iterable[str], left_out: list[str]) -> Iterator[str]:
    """Relative paths of the images among the files that shards have below a relative folder; warns of all others."""
    others: Counter[str] = Counter()
    for name in names:
        relative = f"{folder}/{name}" if folder else name
        if any(step.startswith(".") or step in _NO_DATA for step in name.split("/")):
            continue
        if not name.lower().endswith(IMAGE_SUFFIXES):
            others[PurePosixPath(name).suffix.lower() or "without suffix"] += 1
        elif relative.count("/") > MAX_DEPTH:
            left_out.append(relative)
        else:
            yield relative
    if others:
        path, kinds = os.path.join(root, folder), ", ".join(f"{count} {kind}" for kind, count in others.most_common(5))
        warn_once(
            logger,
            f"others in shards of {path}",
            f"Of the shards for {path}, only images are read; left out are {kinds}: put annotations beside the shards.",
        )


def _each_once(root: str, paths: Iterable[str]) -> Iterator[str]:
    """The same paths; raises ValueError where one comes twice."""
    before = None
    for path in paths:
        if path == before:
            raise ValueError(
                f"{os.path.join(root, path)} is in a shard and there as a file, or in another shard, too: remove one."
            )
        before = path
        yield path


def _names(path: str) -> Iterable[str]:
    """Names of what is in a folder, in the order of the paths that they begin.

    Those of folders have "/" after them, those of links that lead nowhere a character that no name has.
    """
    with os.scandir(path) as scanned:
        entries = (one for one in scanned if not one.name.startswith(".") and one.name not in _NO_DATA)
        return sorted_texts(f"{one.name}{ending}" for one in entries if (ending := _ending(one)) is not None)


def _ending(entry: os.DirEntry) -> str | None:
    """ "/" of a folder, "" of a file, `_NOWHERE` of a link to nothing or to itself; None of something else."""
    try:
        if entry.is_dir():
            return "/"
        return "" if entry.is_file() else _NOWHERE if not os.path.exists(entry.path) else None
    except OSError:
        return _NOWHERE

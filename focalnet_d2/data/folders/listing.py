"""The files below a folder, listed once for all layouts that look at it."""

import os
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".jfif", ".ppm", ".pgm")
MAX_DEPTH = 8  # folders below the root
_NO_DATA = {"__MACOSX", "__pycache__", "lost+found"}


class Listing:
    """The files below a folder; hidden ones, caches and what lies deeper than `MAX_DEPTH` are left out.

    Args:
        root: the folder.

    Attributes:
        root: absolute.
        files: paths relative to the root, with "/", sorted.

    Raises:
        FileNotFoundError: there is no such folder, or it is a file.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(os.path.abspath(os.path.expanduser(root)))
        if self.root.is_file():
            raise FileNotFoundError(f"{self.root} is a file: name the folder that has it and the images.")
        if not self.root.is_dir():
            raise FileNotFoundError(f"The data folder {self.root} does not exist: correct data.root.")
        self.files: list[str] = sorted(_walk(str(self.root), "", frozenset()))

    def with_suffix(self, *suffixes: str) -> list[str]:
        """The files with one of these suffixes, which are in small letters and begin with a dot."""
        return [path for path in self.files if path.lower().endswith(suffixes)]

    @cached_property
    def images(self) -> list[str]:
        """The files that are images by their suffix."""
        return self.with_suffix(*IMAGE_SUFFIXES)

    @cached_property
    def images_by_folder(self) -> dict[str, list[str]]:
        """Names of the images that lie in a folder itself, by its path; "" is the root."""
        folders: dict[str, list[str]] = defaultdict(list)
        for path in self.images:
            folder, _, name = path.rpartition("/")
            folders[folder].append(name)
        return dict(folders)

    @cached_property
    def images_by_name(self) -> dict[str, list[str]]:
        """Paths of the images by their base name."""
        names: dict[str, list[str]] = defaultdict(list)
        for path in self.images:
            names[path.rpartition("/")[2]].append(path)
        return dict(names)

    @cached_property
    def folders(self) -> list[str]:
        """The folders that have a file in or below them, without the root, sorted."""
        parents = {parent for path in {path.rpartition("/")[0] for path in self.files} for parent in ancestors(path)}
        return sorted(parents)

    def below(self, folder: str, paths: Sequence[str]) -> list[str]:
        """Those of the relative paths that lie below a relative folder; "" is the root."""
        return list(paths) if not folder else [path for path in paths if path.startswith(f"{folder}/")]

    def absolute(self, path: str) -> str:
        """The absolute path of a relative one; "" is the root."""
        return str(self.root / path)

    def counts(self) -> str:
        """How many files there are by suffix, for messages: "3 .jpg, 1 .txt"."""
        suffixes = Counter(PurePosixPath(path).suffix.lower() or "without suffix" for path in self.files)
        return ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(8)) or "no file"


def common_folder(paths: Iterable[str]) -> str:
    """The deepest folder that relative paths of files are all below; "" is the root."""
    return posixpath.commonpath([f"/{path.rpartition('/')[0]}" for path in paths]).strip("/")


def ancestors(path: str) -> Iterator[str]:
    """A relative folder and those above it, from the deepest to the highest, without the root."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _walk(root: str, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Relative paths of the files in and below a relative folder.

    Args:
        above: device and number of the folders on the way from the root; a link to one of them is not followed.
    """
    path = os.path.join(root, folder)
    try:
        status = os.stat(path)
        with os.scandir(path) as scanned:
            entries = list(scanned)
    except OSError:  # a folder that may not be read, or a link that leads nowhere
        return
    identity = (status.st_dev, status.st_ino)
    if identity in above or len(above) > MAX_DEPTH:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _NO_DATA:
            continue
        relative = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_dir():
            yield from _walk(root, relative, above | {identity})
        elif entry.is_file():
            yield relative

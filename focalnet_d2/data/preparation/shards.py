"""Writes a data set with its images in shards: tar archives that WebDataset's tools read, too.

train-000000.tar, val-000000.tar, ...   images and label images, by the part that their folders say; else images-*.tar
everything else                         as it was, in the same folders

Names in the archives are the paths below the folder, so that unpacking them would give the folder back. An image and
its label file lie beside each other. The same folder gives the same bytes.
"""

import io
import logging
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import NamedTuple

from focalnet_d2.utils.atomic_write import atomic_folder
from focalnet_d2.utils.temporary_table import TemporaryTable
from focalnet_d2.utils.text import some_of

from ..folders.listing import IMAGE_SUFFIXES, Listing
from ..folders.part_names import part_of_path
from ..folders.stored_texts import decoded, encoded
from ..shards.files import open_file
from ..shards.index import SHARD_NAME

_NO_PART = "images"

logger = logging.getLogger(__name__)


class Packed(NamedTuple):
    """What was written.

    Attributes:
        images, others: how many files are in shards, and beside them.
        shards: how many.
        size: bytes of all shards.
        dotted: how many images have a name that WebDataset's tools cut at another point than its last one.
    """

    images: int
    others: int
    shards: int
    size: int
    dotted: int


def pack_folder(
    root: str | os.PathLike,
    out: str | os.PathLike,
    size: int,
    progress: Callable[[int, int], None] = lambda done, images: None,
) -> Packed:
    """Writes the data set of a folder anew, with its images in shards; it appears whole or not at all.

    Args:
        out: is made; it may not exist.
        size: bytes of a shard, rounded up to whole blocks; more where a file alone is larger.
        progress: told after each image how many are written, and of how many.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it has no images or has shards already, or `out` cannot be made.
        OSError: a file cannot be read or written.
    """
    listing = Listing(root)
    place = _place(listing, out)
    if listing.left_out:
        logger.warning("%s: left out, because they cannot be looked at: %s", root, some_of(listing.left_out))
    with atomic_folder(place) as folder:
        written = _write_shards(listing, folder, size, progress)
        others = [path for path in listing.files if not path.lower().endswith(IMAGE_SUFFIXES)]
        for path in others:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(listing.absolute(path), target)
    dotted = sum(PurePosixPath(path).name.count(".") > 1 for path in listing.images)
    return Packed(len(listing.images), len(others), *written, dotted)


def _place(listing: Listing, out: str | os.PathLike) -> Path:
    """Where the data set with shards will be, absolute."""
    place = Path(os.path.abspath(os.path.expanduser(out)))
    if place.exists():
        raise ValueError(f"{out} exists: name a folder for the shards that does not.")
    if place.is_relative_to(listing.root) or place.is_relative_to(listing.root.resolve()):
        raise ValueError(f"{out} lies in the data set {listing.root}: name a folder outside of it.")
    if shard := next((path for path in listing.files if SHARD_NAME.fullmatch(path.rpartition("/")[2])), ""):
        raise ValueError(f"{listing.root} has its images in shards already, {shard} for one: use it as it is.")
    if not listing.images:
        raise ValueError(f"{listing.root} has no images that could be packed, only {listing.counts()}.")
    return place


def _write_shards(listing: Listing, folder: Path, size: int, progress: Callable[[int, int], None]) -> tuple[int, int]:
    """Writes all shards; returns how many, and their bytes."""
    table = TemporaryTable("part TEXT", "stem BLOB", "path BLOB")
    table.add(
        (part_of_path(path.rpartition("/")[0]) or _NO_PART, encoded(PurePosixPath(path).stem), encoded(path))
        for path in listing.images
    )
    table.index("part, stem, path")
    images, done, shards, total = len(listing.images), 0, 0, 0
    for (part,) in list(table.execute("SELECT DISTINCT part FROM kept ORDER BY part")):
        with _Shards(folder / part, size) as series:
            for (path,) in table.execute("SELECT path FROM kept WHERE part = ? ORDER BY stem, path", (part,)):
                with open_file(listing.absolute(decoded(path))) as file:
                    series.add(decoded(path), file.read())
                done += 1
                progress(done, images)
        shards, total = shards + series.count, total + series.total
    return shards, total


class _Shards:
    """A series of shards, one after the other.

    Args:
        start: path that the name of each begins with.
        size: bytes of a shard, rounded up to whole blocks; more where a file alone is larger.

    Attributes:
        count, total: of the shards, and their bytes, once all are written.
    """

    def __init__(self, start: Path, size: int) -> None:
        self.count = self.total = 0
        self._start, self._size = start, size
        self._archive: tarfile.TarFile | None = None

    def __enter__(self) -> "_Shards":
        return self

    def add(self, name: str, content: bytes) -> None:
        """Adds a file, with nothing that another machine or day would have otherwise."""
        if self._archive is not None and self._archive.offset + len(content) > self._size:
            self._finish()
        if self._archive is None:
            path = f"{self._start}-{self.count:06d}.tar"
            self._archive = tarfile.open(path, "x:", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by `_finish`
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._archive.addfile(member, io.BytesIO(content))
        self._archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all

    def _finish(self) -> None:
        assert self._archive is not None
        self._archive.close()
        self.count += 1
        self.total += os.path.getsize(str(self._archive.name))
        self._archive = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._archive is not None:
            self._finish()

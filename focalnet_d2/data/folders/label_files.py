"""Layouts with a file of labels for each image: which files belong to a part, and which image to a file.

Folders say the parts; where no folder says one, it is for training. The folders of a part are kept in its options, so
files that come later are found.
"""

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

from focalnet_d2.utils.text import some_of

from .annotation_files import relative_to_root
from .dataset import Part
from .layout import WantedParts
from .listing import Listing, common_folder, is_below
from .part_names import in_order, part_of_path
from .stored_texts import KeyedTexts, StoredTexts, TextSet, sorted_texts

_IMAGE_FOLDER = "JPEGImages"  # VOC's, beside folders of masks that have the same names


def folders_of_parts(listing: Listing, files: Sequence[str], wanted: WantedParts, what: str) -> dict[str, list[str]]:
    """The folders in which the files of each part lie, relative to the root.

    Args:
        files: relative paths of all files of labels.
        what: they are, for messages: "XML file of Pascal VOC".

    Raises:
        ValueError: a part that was named has no such file.
    """
    parts = defaultdict(set)
    for folder in {path.rpartition("/")[0] for path in files}:
        parts[part_of_path(folder) or "train"].add(folder)
    for part, place in wanted.items():
        if not place:
            continue
        chosen = {path.rpartition("/")[0] for path in listing.below(relative_to_root(listing, part, place), files)}
        if not chosen:
            raise ValueError(f"data.{part}={place} has no {what}: name a folder of {listing.root} that has some.")
        parts = {name: folders - chosen for name, folders in parts.items()} | {part: chosen}
    return {part: sorted(parts[part]) for part in in_order(parts) if parts[part]}


def part_of_folders(listing: Listing, folders: Sequence[str], options: dict) -> Part:
    """A part whose files of labels lie in these folders; `label_files` gives them back."""
    common = common_folder(f"{folder}/" for folder in folders)
    below = sorted(PurePosixPath(folder).relative_to(common).as_posix() for folder in folders)
    images = _image_folder(listing, common)
    return Part(listing.absolute(images), listing.absolute(common), {**options, "folders": below})


def label_files(part: Part, suffix: str) -> Sequence[str]:
    """Absolute paths of the files of labels of a part, sorted."""
    paths = (path for folder in _folders(part) for path in _files_in(folder))
    return StoredTexts(sorted_texts(path for path in paths if os.path.splitext(path)[1].lower() == suffix))


def _files_in(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.path for entry in entries)


def _folders(part: Part) -> list[str]:
    return [str(Path(part.annotations, folder)) for folder in part.options["folders"]]


class ImageFinder:
    """Finds the image of a file of labels.

    Args:
        part: whose images lie in and below its folder of images.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self._listing = Listing(part.images)
        self._by_stem = KeyedTexts(self._listing.images, lambda path: PurePosixPath(path).stem)

    def unlabelled(self, files: Sequence[str], others: Collection[str] = ()) -> StoredTexts:
        """Images beside the files of labels that have no file of their name.

        Args:
            files: all that `label_files` gives.
            others: those of them that turned out to be something else.
        """
        stems = TextSet(os.path.splitext(file)[0] for file in files if file not in others)
        folders = set(_folders(self._part))
        images = map(self._listing.absolute, self._listing.images)
        return StoredTexts(
            image for image in images if os.path.dirname(image) in folders and os.path.splitext(image)[0] not in stems
        )

    def _images(self, stem: str) -> list[str]:
        return list(map(self._listing.absolute, self._by_stem.found(stem)))

    def find(self, file: str, named: str) -> str:
        """The image that has the name of the file with another suffix, or else the one that the file names.

        Args:
            named: what the file says, "" for nothing.

        Raises:
            ValueError: there is none, or several fit equally well.
        """
        own = self._images(PurePosixPath(file).stem)
        if len(own) == 1:
            return own[0]
        name = PurePosixPath(named.replace("\\", "/"))
        candidates = own or self._images(name.stem)
        if not candidates:
            raise ValueError(
                f"{file} has no image: none of its name or of its text {named!r} is below {self._part.images}."
            )
        ranks = {path: (path.endswith(f"/{name.name}"), _common_end(path, file)) for path in candidates}
        best = [path for path in candidates if ranks[path] == max(ranks.values())]
        if len(best) > 1:
            raise ValueError(f"{file} may belong to several images ({some_of(best)}): keep one of them.")
        return best[0]


def _common_end(image: str, file: str) -> tuple[bool, int]:
    """Whether both lie in one folder, and how many names of folders before theirs are the same."""
    one, other = Path(image).parent, Path(file).parent
    same = 0
    for left, right in zip(reversed(one.parts), reversed(other.parts)):
        if left != right:
            break
        same += 1
    return one == other, same


def _image_folder(listing: Listing, folder: str) -> str:
    """The nearest folder with images, from that of the files of labels upwards."""

    def has_images(folder: str) -> bool:
        return any(is_below(f"{one}/", folder) for one in listing.image_counts)

    while folder and not has_images(folder):
        folder = folder.rpartition("/")[0]
    own = f"{folder}/{_IMAGE_FOLDER}".lstrip("/")
    return own if has_images(own) else folder

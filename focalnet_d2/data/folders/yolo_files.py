"""Which files a YOLO data set is made of: classes, the images of each part, and the labels of each image."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import abspath
from pathlib import Path
from typing import Any

import yaml

from ..annotations.faults import refusal
from ..shards.files import exists, is_file, is_folder
from .annotation_files import relative_to_root
from .dataset import PARTS
from .image_names import plain_name
from .layout import WantedParts
from .listing import Listing
from .part_names import in_order, part_of_path
from .stored_texts import StoredTexts, TextSet
from .text_lines import each_filled_line, filled_lines

_NAME_FILES = ("classes.txt", "obj.names", "data.names", "predefined_classes.txt")
_PART_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_KEYS = [key for keys in _PART_KEYS.values() for key in keys]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class YoloFiles:
    """What a folder says about itself.

    Attributes:
        source: absolute path of the yaml or of the file of names.
        names: of the classes, by the numbers of the label files.
        sources: of each part, absolute folders of images and text files that list some.
        deep: whether images below these folders belong to the parts, too.
        keypoints: whether boxes are followed by key points.
    """

    source: str
    names: dict[int, str]
    sources: dict[str, list[str]]
    deep: bool
    keypoints: bool


def find_files(listing: Listing, wanted: WantedParts) -> YoloFiles | None:
    """Looks for a yaml with `names`, or a file of names with label files.

    Raises:
        ValueError: there are several, or what one says cannot be used.
    """
    yamls = {path: content for path in listing.with_suffix(".yaml", ".yml") if (content := _yaml(listing, path))}
    if yamls:
        top = [path for path in yamls if path.count("/") == min(other.count("/") for other in yamls)]
        best = [path for path in top if path.rpartition("/")[2].startswith("data.")] or top
        if len(best) > 1:
            message = f"{listing.root} has several YOLO data sets ({', '.join(best)}): keep one of them."
            raise refusal("several-candidates", listing.root, message, best)
        return _described(listing, best[0], yamls[best[0]], wanted)
    return _of_names(listing, wanted)


def images_of(sources: Sequence[str], root: str, deep: bool) -> Sequence[str]:
    """Absolute paths of the images of some sources, each once: those in a folder, or those that a text file lists.

    Args:
        root: of the data set, where lines of text files are looked for, too.
        deep: also those below a folder.
    """
    paths = (path for source in sources for path in _images_of(source, root, deep))
    is_one = len(sources) == 1 and is_folder(sources[0])
    seen = TextSet()
    return StoredTexts(paths if is_one else filter(seen.add, paths))


def _images_of(source: str, root: str, deep: bool) -> Iterable[str]:
    if is_folder(source):
        listing = Listing(source)
        return map(listing.absolute, listing.images if deep else listing.images_in(""))
    bases = [Path(source).parent, Path(root)]
    return (str(_existing(line, bases) or bases[0] / line) for line in each_filled_line(source))


def label_file(image: str, root: str) -> Path | None:
    """The file with the labels of an image; None if there is none.

    Args:
        root: folders named `images` above it are none of the data set's.
    """
    path = Path(image)
    beside = path.with_suffix(".txt")
    inner = path.relative_to(root) if path.is_relative_to(root) else path
    steps = list(inner.parent.parts)
    if "images" in steps:
        last = len(steps) - 1 - steps[::-1].index("images")
        steps[last] = "labels"
        moved = Path(root, *steps, beside.name)
        if moved.is_file():
            return moved
    return beside if beside.is_file() else None


def labels_without_image(images: Iterable[str], root: str) -> list[str]:
    """Files of labels beside those of some images that belong to none of them, as a renamed image leaves them.

    Args:
        images: all of the folders that they lie in.
        root: see `label_file`.
    """
    known = TextSet(str(file) for image in images if (file := label_file(image, root)))
    folders = {os.path.dirname(file) for file in known}
    return [path for folder in sorted(folders) for path in sorted(_others(folder, known)) if _has_labels(path)]


def _others(folder: str, known: TextSet) -> Iterator[str]:
    """The text files of a folder that are not known."""
    with os.scandir(folder) as entries:
        yield from (one.path for one in entries if one.name.endswith(".txt") and one.path not in known)


def _has_labels(path: str) -> bool:
    """Whether a text begins as labels do, which names, lists and notes do not."""
    try:
        words = [line.split() for line in filled_lines(path)][:1]
    except ValueError:
        return False
    return bool(words) and len(words[0]) >= 5 and words[0][0].isdecimal()


def _yaml(listing: Listing, path: str) -> dict[str, Any] | None:
    """The content of a yaml of YOLO, all of it text, so that a class may be called `no` or `1`; None for another."""
    text = Path(listing.absolute(path)).read_bytes().decode("utf-8-sig", errors="replace")
    if "names" not in text:
        return None
    try:
        content = yaml.load(text, yaml.BaseLoader)  # makes text, lists and mappings, nothing else
    except yaml.YAMLError as error:
        file = listing.absolute(path)
        message = f"{file} is not valid YAML ({' '.join(str(error).split())})."
        raise refusal("yaml-damaged", file, message) from error
    return content if isinstance(content, dict) and "names" in content else None


def _described(listing: Listing, path: str, content: Mapping[str, Any], wanted: WantedParts) -> YoloFiles | None:
    """What a yaml says, or the like; None if it names no part and no image has a label file."""
    source = Path(listing.absolute(path))
    is_said = any(content.get(key) for key in _KEYS) or any(wanted.values())
    sources = _said_sources(listing, source, content, wanted) if is_said else _seen_sources(listing)
    if not sources:
        return None
    names = _checked_names(content["names"], content.get("nc"), source)
    return YoloFiles(str(source), names, sources, deep=is_said, keypoints="kpt_shape" in content)


def _said_sources(
    listing: Listing, source: Path, content: Mapping[str, Any], wanted: WantedParts
) -> dict[str, list[str]]:
    """Folders and lists of the parts that the yaml or the user names; without a training part the other folders with
    labels are it. What the user names is no other part."""
    bases = [source.parent / str(content.get("path") or ""), source.parent, listing.root]
    sources: dict[str, list[str]] = {}
    for part in sorted(PARTS, key=lambda part: not wanted.get(part)):
        said = next((content[key] for key in _PART_KEYS[part] if content.get(key)), None)
        entry = relative_to_root(listing, part, wanted[part]) if wanted.get(part) else said
        if not entry:
            continue
        places = [_existing(str(one), bases) for one in (entry if isinstance(entry, list) else [entry])]
        if None not in places:
            taken = {one for other in sources if wanted.get(other) and not wanted.get(part) for one in sources[other]}
            if found := [str(place) for place in places if str(place) not in taken]:
                sources[part] = found
        elif part == "test":
            logger.warning("%s: the images of test, %s, are not there; the part is left out.", source, entry)
        else:
            message = f"{source}: the images of {part}, {entry}, are not there: correct it, or set data.{part}."
            raise refusal("missing-images", source, message, [part])
    if sources and "train" not in sources:
        named = [one for places in sources.values() for one in places]
        seen = (folder for folders in _seen_sources(listing).values() for folder in folders)
        if others := [folder for folder in seen if not any(f"{folder}/".startswith(f"{one}/") for one in named)]:
            sources["train"] = others
    return {part: sources[part] for part in in_order(sources)}


def _seen_sources(listing: Listing) -> dict[str, list[str]]:
    """Folders that have images with label files, by the part that their names say."""
    sources: dict[str, list[str]] = {}
    labelled: set[str] = set()  # folders
    for image in listing.images:
        folder = image.rpartition("/")[0]
        if folder not in labelled and label_file(listing.absolute(image), str(listing.root)):
            labelled.add(folder)
    for folder in filter(labelled.__contains__, listing.image_counts):
        sources.setdefault(part_of_path(folder) or "train", []).append(listing.absolute(folder))
    return sources


def _checked_names(names: Any, count: str | None, source: Path) -> dict[int, str]:
    """Names by the numbers of label files.

    Raises:
        ValueError: they are no list or mapping of names, or not as many as `nc` says.
    """
    rows = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(rows, dict) or not rows or not all(isinstance(name, str) for name in rows.values()):
        message = f"{source}: names must be a list of names, or a mapping from numbers to names."
        raise refusal("category-name", source, message)
    if wrong := [key for key in rows if not str(key).isdecimal()]:
        message = f"{source}: names has the key {wrong[0]!r}, which is no number of a class."
        raise refusal("category-id-type", source, message, wrong)
    if count is not None and count != str(len(rows)):
        message = f"{source}: nc is {count}, but there are {len(rows)} names: correct one of them."
        raise refusal("category-count", source, message)
    return {int(key): rows[key].strip() for key in sorted(rows, key=int)}


def _existing(entry: str, bases: Sequence[Path]) -> Path | None:
    """A path as it stands, or without its first steps, below one of the folders; None if there is none.

    What remains has two steps or is a file, so that `valid/images` never becomes `images`.
    """
    for base in bases:
        if exists(base / entry):
            return Path(abspath(base / entry))
    steps = plain_name(entry).split("/")
    for start in range(len(steps)):
        for base in bases:
            path = base.joinpath(*steps[start:])
            if is_file(path) or (is_folder(path) and (len(steps) - start > 1 or len(steps) == 1)):
                return Path(abspath(path))
    return None


def _of_names(listing: Listing, wanted: WantedParts) -> YoloFiles | None:
    """A folder without a yaml: a file of names, and label files of images; darknet's *.data says the parts."""
    found = sorted(
        (path for path in listing.files if path.rpartition("/")[2] in _NAME_FILES), key=lambda p: p.count("/")
    )
    if not found or not _seen_sources(listing):
        return None
    content = {"names": filled_lines(listing.absolute(found[0])), **_darknet_parts(listing)}
    return _described(listing, found[0], content, wanted)


def _darknet_parts(listing: Listing) -> dict[str, str]:
    """Parts of darknet's `key = value` file."""
    for path in listing.with_suffix(".data"):
        pairs = [line.partition("=") for line in filled_lines(listing.absolute(path))]
        return {key.strip(): value.strip() for key, _, value in pairs if key.strip() in _KEYS}
    return {}

"""Lists of classes beside label files: which pixel value, or color, is which class.

    classes.txt, labels.txt         one name a line, values from 0 (from -1 where the first is __ignore__, as labelme
                                    has it), or "value name" with any values
    labelmap.txt                    "name:red,green,blue::" a line (CVAT, Pascal VOC); without any color those of VOC
    label_colors.txt                "red green blue name" a line (CamVid); without colors it says nothing
    class_dict.csv, *_class_dict.csv   columns name, r, g, b
    _classes.csv                    columns Pixel Value, Class (Roboflow)
    classes.json                    {value: name}, a list of names, or a list of {"id": ..., "name": ...}

Values of classes called unlabeled, ignore or void, with any underscores, are those of pixels without a class; so is 0
where a list counts from 1.
"""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from focalnet_d2.utils.text import some_of

from ..annotations.faults import refusal
from ..annotations.ids import repeated
from ..annotations.json_file import read_json
from ..label_decoding import Color
from .listing import Listing
from .text_lines import filled_lines

_WITHOUT_CLASS = {"unlabeled", "unlabelled", "ignore", "ignored", "void"}
_COLOR_FIRST = re.compile(r"(\d+)\s+(\d+)\s+(\d+)\s+(\S.*)")
_FIRST = re.compile(r"(-?\d+)\s*[:,;=\s]\s*(\S.*)")


@dataclass(frozen=True)
class ListedClass:
    """A class of a list: the value of its pixels, its name, and its color where the list has colors."""

    value: int
    name: str
    color: Color | None = None


@dataclass(frozen=True)
class ClassFile:
    """A list of classes.

    Attributes:
        path: relative to the root of the listing.
        classes: without those for pixels without a class.
        ignored: the latter.
    """

    path: str
    classes: list[ListedClass]
    ignored: list[ListedClass]


def check_complete(file: str, names: Iterable[str], used: Iterable[str], what: str) -> None:
    """Raises FaultError if a list of names lacks some that are used.

    Args:
        what: they are called in the message, and by which files they are used.
    """
    if unknown := sorted(set(used) - set(names)):
        message = (
            f"{file} lacks the {what.format(some_of(unknown, 10))}: add each on a line of its own, or remove the file."
        )
        raise refusal("category-unknown", file, message, unknown)


def find_class_file(listing: Listing) -> ClassFile | None:
    """The list of classes of a folder; of several that are equal, as one for each part, the first.

    Raises:
        ValueError: a list that cannot be read, or lists of different classes.
    """
    files = []
    for path in listing.with_suffix(".txt", ".csv", ".json"):
        name = path.rpartition("/")[2].lower()
        for pattern, reader in _READERS.items():
            if re.fullmatch(pattern, name) and (file := _class_file(listing, path, reader)) is not None:
                files.append(file)
    highest = min((one.path.count("/") for one in files), default=0)
    files = [one for one in files if one.path.count("/") == highest]
    for other in files[1:]:
        if (other.classes, other.ignored) != (files[0].classes, files[0].ignored):
            first, second = listing.root / files[0].path, listing.root / other.path
            message = f"{first} and {second} list different classes: keep one."
            raise refusal("contradicting-categories", first, message)
    return files[0] if files else None


def _class_file(listing: Listing, path: str, reader: Callable[[Path], list[ListedClass] | None]) -> ClassFile | None:
    file = listing.root / path
    try:
        listed = reader(file)
    except (csv.Error, TypeError, KeyError, AttributeError) as error:
        raise refusal("class-list", file, f"{file} is no list of classes that can be read ({error}).") from error
    if listed is None:
        return None
    if not listed:
        raise refusal("no-categories", file, f"{file} is an empty list of classes: write one class a line.")
    for what in ("value", "name"):
        if twice := repeated(getattr(one, what) for one in listed):
            alike = [one.value for one in listed if getattr(one, what) in twice]
            message = f"{file} has the {what} {some_of(map(repr, twice))} twice: each class needs its own."
            raise refusal(f"duplicate-category-{'id' if what == 'value' else what}", file, message, alike)
    ignored = [one for one in listed if one.name.strip("_ ").lower() in _WITHOUT_CLASS]
    classes = [one for one in listed if one not in ignored]
    if not classes:
        message = f"{file} lists no class but {some_of(one.name for one in ignored)}: add the classes."
        raise refusal("no-categories", file, message)
    if min(one.value for one in listed) == 1:
        ignored.append(ListedClass(0, "unlabeled"))
    return ClassFile(path, classes, [ListedClass(one.value % 256, one.name, one.color) for one in ignored])


def _lines(path: Path) -> list[str]:
    return [line for line in filled_lines(path) if not line.startswith("#")]


def _from_lines(path: Path) -> list[ListedClass]:
    lines = _lines(path)
    numbered = [_FIRST.fullmatch(line) for line in lines]
    if lines and all(numbered):
        return [ListedClass(int(match[1]), match[2].strip()) for match in numbered if match]
    start = -1 if lines and lines[0].strip("_").lower() == "ignore" else 0
    return [ListedClass(value, name) for value, name in enumerate(lines, start)]


def _from_labelmap(path: Path) -> list[ListedClass]:
    rows = [line.split(":") for line in _lines(path)]
    colors = [_color(row[1].split(","), path) if "".join(row[1:2]).strip() else None for row in rows]
    if not any(colors):
        colors = [voc_color(value) for value in range(len(rows))]
    return [ListedClass(value, row[0], color) for value, (row, color) in enumerate(zip(rows, colors, strict=True))]


def voc_color(value: int) -> Color:
    """The color that Pascal VOC gives to a class: its bits go to red, green and blue in turn, the lowest to the top."""
    red, green, blue = (
        sum((value >> 3 * place + channel & 1) << 7 - place for place in range(8)) for channel in range(3)
    )
    return red, green, blue


def _from_label_colors(path: Path) -> list[ListedClass] | None:
    rows = [_COLOR_FIRST.fullmatch(line) for line in _lines(path)]
    if not rows or not all(rows):
        return None
    return [ListedClass(value, row[4], _color(row.groups()[:3], path)) for value, row in enumerate(rows) if row]


def _from_color_table(path: Path) -> list[ListedClass]:
    rows = _csv_rows(path)
    return [ListedClass(i, row["name"], _color([row[c] for c in "rgb"], path)) for i, row in enumerate(rows)]


def _from_value_table(path: Path) -> list[ListedClass]:
    return [ListedClass(_value(row["pixel value"], path), row["class"]) for row in _csv_rows(path)]


def _csv_rows(path: Path) -> list[dict[str, str]]:
    rows = csv.DictReader(_lines(path), skipinitialspace=True)
    return [{str(key).strip().lower(): str(value).strip() for key, value in row.items()} for row in rows]


def _from_json(path: Path) -> list[ListedClass]:
    content = read_json(path)
    if isinstance(content, dict):
        return [ListedClass(_value(key, path), str(name)) for key, name in content.items()]
    if all(isinstance(one, str) for one in content):
        return [ListedClass(value, name) for value, name in enumerate(content)]
    return [ListedClass(_value(one["id"], path), str(one["name"])) for one in content]


def _value(text: object, path: Path) -> int:
    try:
        return int(str(text))
    except ValueError:
        message = f"{path} has the value {text!r}, which is no whole number."
        raise refusal("category-id-type", path, message, [text]) from None


def _color(numbers: Sequence[str] | Iterable[str], path: Path) -> Color:
    values = [_value(number, path) for number in numbers]
    if len(values) != 3 or not all(0 <= value < 256 for value in values):
        message = f"{path} has the color {values}, which is not red, green and blue from 0 to 255."
        raise refusal("class-color", path, message)
    red, green, blue = values
    return red, green, blue


_READERS: dict[str, Callable[[Path], list[ListedClass] | None]] = {
    r"(classes|class_names|labels|label_names)\.txt": _from_lines,
    r"labelmap\.txt": _from_labelmap,
    r"label_colors\.txt": _from_label_colors,
    r"(.*_)?class_dict\.csv": _from_color_table,
    r"_classes\.csv": _from_value_table,
    r"classes\.json": _from_json,
}

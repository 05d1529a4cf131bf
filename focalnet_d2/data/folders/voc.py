"""Pascal VOC: an XML file for each image, as the devkit, labelImg, Roboflow, CVAT, datumaro and supervision write them.

    Folders          Annotations/ and JPEGImages/ with ImageSets/Main/{train,val,test}.txt, or images and XML files side
                     by side, in folders of parts or not
    Image of a file  the one of its name with another suffix, as the devkit has it; else the one in its <filename>
    Corners          the devkit counts pixels from 1, both included: xmin 1, xmax 10 are ten pixels from the edge. That
                     is how files are read, unless they are of a tool that counts from 0 with xmax as the edge: Label
                     Studio, CVAT and datumaro by what they write about the source, any other by a corner of 0. The
                     reason that is printed says which.
    difficult: 1     ignored: no target in training, neither right nor wrong in scoring, as in the devkit's AP
    Sizes            of the image where the file has 0 or none
    Class ids        from 1 in the order of labels.txt, of CVAT's labelmap.txt without its background, or of the names
    Without a file   an image that ImageSets lists holds nothing (datumaro writes it so); another one is left out, which
                     is said: nobody has looked at it

Folders without lists whose corners count from 1 are read by hotcoco where it is installed and reads them as this does
(`hotcoco_reading`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Report, refusal
from .class_files import check_complete
from .dataset import Part
from .hotcoco_reading import ReadImage, read_voc
from .instance_content import InstanceContent, instances_found
from .label_files import ImageFinder, folders_of_parts, label_files, part_of_folders
from .layout import Found, Layout, WantedParts
from .listing import Listing
from .shapes import Corners, Shapes, Size
from .stored_texts import StoredTexts, TextSet
from .text_lines import each_filled_line, filled_lines
from .xml_file import Element, number_of, read_xml, root_tag, text_of

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_FROM_ZERO = {"owner/name": "Label Studio", "source/annotation": "Unknown"}  # the latter is datumaro's, and CVAT's
# The first one that is there counts; trainval without the images of val and test.
_LISTS = {"train": ("train", "trainval"), "val": ("val",), "test": ("test",)}


def find(listing: Listing, wanted: WantedParts) -> Found | None:
    """Looks for XML files whose root is <annotation>.

    Raises:
        ValueError: a part that was named has no such file, or labels.txt lacks a class.
    """
    xml_files = listing.with_suffix(".xml")
    files = StoredTexts(path for path in xml_files if root_tag(listing.absolute(path)) == "annotation")
    if not files:
        return None
    names, first_pixel = _names_and_first_pixel(listing, files)
    options = {"names": names, "first_pixel": first_pixel, "list": ""}
    parts = _listed_parts(listing, files, wanted, options)
    if not parts:
        folders = folders_of_parts(listing, files, wanted, "XML file of Pascal VOC")
        parts = {part: part_of_folders(listing, rows, options) for part, rows in folders.items()}
    reason = f"{len(files)} XML files of Pascal VOC such as {files[0]}, corners from {first_pixel}"
    return instances_found(parts, dict(enumerate(names, 1)), listing.root, reason)


def gather(part: Part, report: Report, new_list: Callable = list) -> InstanceContent:
    """Boxes of one part, before the checks.

    Args:
        new_list: see `InstanceContent`.

    Raises:
        ValueError: through `report`: a file that cannot be read or has no image, or an object without class or corners.
    """
    content = InstanceContent(part, dict(enumerate(part.options["names"], 1)), report, new_list)
    finder = ImageFinder(part)
    files = _listed_files(part) if part.options["list"] else label_files(part, ".xml")
    if seen := _seen_by_hotcoco(part, files) if new_list is list else None:  # it reads all files at once
        for number, file in enumerate(files, 1):
            _add_seen(content, number, file, finder, seen[file], part.options["names"])
        others = set()
    else:
        others = {file for number, file in enumerate(files, 1) if not _add(content, number, file, finder, part.options)}
    if not part.options["list"]:
        content.warn_of_unlabelled(finder.unlabelled(files, others), "an XML file of Pascal VOC")
    return content


def _listed_parts(listing: Listing, files: Sequence[str], wanted: WantedParts, options: dict) -> dict[str, Part]:
    """The parts that ImageSets/Main or the user lists; none if the user names folders.

    A list of which no image has an XML file is none: VOC's own lists of test images are so.
    """
    if any(place and not place.endswith(".txt") for place in wanted.values()):
        return {}
    known = TextSet(path.removesuffix(".xml") for path in files)
    parts = {}
    for part, names in _LISTS.items():
        ends = [wanted.get(part) or f"ImageSets/Main/{name}.txt" for name in names]
        listed = next((path for end in ends for path in listing.files if f"/{path}".endswith(f"/{end}")), "")
        folder = "/".join([*listed.split("/")[:-3], "Annotations"])
        if listed and sum(f"{folder}/{name}" in known for name in each_filled_line(listing.absolute(listed))):
            parts[part] = part_of_folders(listing, [folder], options | {"list": listing.absolute(listed)})
        elif wanted.get(part):
            raise ValueError(f"data.{part}={wanted[part]} lists no image with an XML file in {listing.root}/{folder}.")
    return _apart(parts)


def _apart(parts: dict[str, Part]) -> dict[str, Part]:
    """The parts, trainval without the images of the lists for scoring, which it has as well."""
    train = parts.get("train")
    others = [part.options["list"] for name, part in parts.items() if name != "train"]
    if train is None or not others or Path(train.options["list"]).stem != "trainval":
        return parts
    return {**parts, "train": replace(train, options={**train.options, "without": others})}


def _names_and_first_pixel(listing: Listing, files: Sequence[str]) -> tuple[list[str], int]:
    """Names of the classes in the order of their ids, and the number of the first pixel, 0 or 1."""
    used, first = set(), 1
    for path in files:
        try:
            root = read_xml(listing.absolute(path))
        except ValueError:  # reported where the file is read
            continue
        if root.find("imagesize") is not None:
            file = listing.absolute(path)
            message = f"{file} is of the old LabelMe web tool, which this is no reader of."
            raise refusal("other-format", file, message)
        objects = root.findall("object")
        used |= {name for element in objects if (name := text_of(element, "name"))}
        if _counts_from_zero(root, objects):
            first = 0
    return _names(listing, used), first


def _names(listing: Listing, used: set[str]) -> list[str]:
    source = next((path for path in listing.files if path.rpartition("/")[2] in ("labels.txt", "labelmap.txt")), "")
    if not source:
        if not used:
            message = f"The XML files of {listing.root} have no object with a name: there is nothing to learn."
            raise refusal("no-categories", listing.root, message)
        return sorted(used)
    lines = [line for line in filled_lines(listing.absolute(source)) if not line.startswith("#")]
    names = [
        name for line in lines if (name := line.split(":")[0] if source.endswith("map.txt") else line) != "background"
    ]
    check_complete(listing.absolute(source), names, used, "classes {} of the XML files")
    return list(dict.fromkeys(names))


def _counts_from_zero(root: Element, objects: Sequence[Element]) -> bool:
    if any(text_of(root, path) == text for path, text in _FROM_ZERO.items()):
        return True
    texts = [text_of(element, f"bndbox/{key}") for element in objects for key in _CORNERS]
    return any(_is_number(text) and float(text) < 1 for text in texts)


def _is_number(text: str) -> bool:
    try:
        number_of(text, "")
    except ValueError:
        return False
    return True


def _listed_files(part: Part) -> Sequence[str]:
    """The XML file of each entry of a part's list, also where there is none."""
    others = TextSet(name for path in part.options.get("without", ()) for name in each_filled_line(path))
    names = (name for name in each_filled_line(part.options["list"]) if name not in others)
    return StoredTexts(str(Path(part.annotations, f"{name}.xml")) for name in names)


def _seen_by_hotcoco(part: Part, files: Sequence[str]) -> Mapping[str, ReadImage] | None:
    """What each file says; None where our own reader has to look."""
    if part.options["list"] or part.options["first_pixel"] != 1:
        return None
    seen = read_voc(files, part.annotations)
    labels = {one.label for image in seen.values() for one in image.objects} if seen else set()
    return seen if labels <= set(part.options["names"]) else None


def _add_seen(
    content: InstanceContent, number: int, file: str, finder: ImageFinder, seen: ReadImage, names: Sequence[str]
) -> None:
    """The image of one file, and its objects."""
    try:
        image = finder.find(file, seen.name)
    except ValueError as error:
        content.failed("unusable-file", file, error)
        return
    if content.add_image(number, image, seen.size if all(seen.size) else None):
        for one in seen.objects:
            content.add_box(number, names.index(one.label) + 1, one.bbox, ignore=one.difficult)


def _add(content: InstanceContent, number: int, file: str, finder: ImageFinder, options: Mapping[str, Any]) -> bool:
    """The image of one file, and its objects; a listed image without a file has none.

    Returns:
        Whether it is a file of Pascal VOC.
    """
    try:
        root = read_xml(file) if not options["list"] or Path(file).is_file() else Element("annotation")
        if root.tag != "annotation":
            return False
        image = finder.find(file, text_of(root, "filename"))
        size = _size(root, file)
    except ValueError as error:
        content.failed("unusable-file", file, error)
        return True
    if not (size := content.add_image(number, image, size)):
        return True
    for place, element in enumerate(root.findall("object"), 1):
        try:
            category = _class_id(element, options["names"])
            box = Shapes(boxes=[_corners(element, options["first_pixel"])])
            content.add(number, category, size, box, ignore=_is_difficult(element))
        except ValueError as error:
            content.error("unusable-object", file, f"{file}: object {place} {error}.", (place,), number)
    return True


def _size(root: Element, file: str) -> Size | None:
    """Height and width that a file says; None where one is 0 or missing."""
    sides = [text_of(root, f"size/{key}") or "0" for key in ("height", "width")]
    if not all(side.isdecimal() for side in sides):
        raise ValueError(f"{file} has the height {sides[0]} and the width {sides[1]}: write whole numbers of pixels.")
    height, width = map(int, sides)
    return (height, width) if height and width else None


def _class_id(element: Element, names: Sequence[str]) -> int:
    if (name := text_of(element, "name")) not in names:
        raise ValueError(f"has the class {name!r}, which is none of {some_of(names, 10)}" if name else "has no name")
    return names.index(name) + 1


def _corners(element: Element, first_pixel: int) -> Corners:
    """x0, y0, x1, y1 in pixels from 0; the last pixel of the devkit's boxes belongs to them."""
    x0, y0, x1, y1 = (number_of(text_of(element, f"bndbox/{key}"), key) for key in _CORNERS)
    if x1 < x0 or y1 < y0:
        raise ValueError(f"has its corners in the wrong order: {x0:g}, {y0:g}, {x1:g}, {y1:g}")
    return x0 - first_pixel, y0 - first_pixel, x1, y1


def _is_difficult(element: Element) -> bool:
    flag = text_of(element, "difficult") or "0"
    if flag not in ("0", "1"):
        raise ValueError(f"has difficult {flag!r}, which must be 0 or 1")
    return flag == "1"


LAYOUT = Layout(
    name="voc",
    kind="instances",
    summary="Pascal VOC: an XML file with boxes for each image",
    find=find,
    read=lambda part, report: gather(part, report).checked(),
    gather=gather,
)

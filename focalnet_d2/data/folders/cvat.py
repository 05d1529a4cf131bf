"""CVAT for images 1.1: one XML file for many images, as CVAT, datumaro and hotcoco write it.

    Parts       the file's name or folder ("train.xml", "val/annotations.xml"), or the `subset` of the images of a
                project
    Class ids   from 1 in the order of the labels in <meta>; labels that only other files have follow
    Objects     polygons, masks and ellipses have masks, boxes have none; a rotated box is the upright one around it.
                Shapes of one label and one group_id above 0 are one object. Later shapes and those of a higher z_order
                may cover others, which stay whole, as in CVAT's own COCO files.
    Left out    polylines, points, cuboids, skeletons and tags, which is said
    Refused     tracks: they are of "CVAT for video", whose frames between key frames no file has

Files of nothing but boxes and polygons are read by hotcoco where it is installed and reads them as this does
(`hotcoco_reading`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count

import numpy as np

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Report, refusal
from .annotation_files import relative_to_root
from .dataset import Part
from .hotcoco_reading import ReadImage, read_cvat
from .image_names import NameResolver, locate
from .instance_content import InstanceContent, instances_found
from .layout import Found, Layout, WantedParts
from .listing import Listing, is_below
from .part_names import in_order, part_of_name, part_of_path
from .shapes import Piece, Pixels, Polygon, Shapes, box_around, ellipse, objects_of, turned
from .stored_texts import StoredTexts
from .xml_file import Element, children_of, number_of, root_tag, text_of

_OUTLINES = ("box", "polygon", "mask", "ellipse")
_MOST_PIXELS = 1 << 30  # of one mask
_NO_OUTLINES = ("polyline", "points", "cuboid", "skeleton", "tag")


def find(listing: Listing, wanted: WantedParts) -> Found | None:
    """Looks for XML files whose root is <annotations>.

    Raises:
        ValueError: one has tracks, no label or no image, or the images are not there.
    """
    files = [path for path in listing.with_suffix(".xml") if root_tag(listing.absolute(path)) == "annotations"]
    if not files:
        return None
    seen = {path: _Seen(listing.absolute(path)) for path in files}
    names = list(dict.fromkeys(name for one in seen.values() for name in one.labels))
    if not names:
        file = listing.absolute(files[0])
        raise refusal("no-categories", file, f"{file} has no label, neither in <meta> nor on a shape.")
    parts = {}
    places_of = _places(listing, seen, wanted)
    for part in in_order(places_of):
        places = places_of[part]
        images = StoredTexts(name for path, subset in places for name in seen[path].images_of(subset))
        folder = locate(listing, images, places[0][0], part)
        options = {
            "names": names,
            "files": [[listing.absolute(path), subset] for path, subset in places],
            "search": folder.search,
        }
        parts[part] = Part(listing.absolute(folder.folder), listing.absolute(places[0][0]), options)
    has_masks = all(one.has_masks for one in seen.values())
    reason = f"{some_of(files)}: CVAT for images 1.1"
    return instances_found(parts, dict(enumerate(names, 1)), listing.root, reason, has_masks)


class _Seen:
    """What recognizing a file needs to know of it.

    Args:
        path: of the file.

    Attributes:
        labels: in the order of <meta>, or of the shapes where that has none.
        subsets: names of the images of each, "" where one has none.
        has_masks: whether every object has one.
    """

    def __init__(self, path: str) -> None:
        named: list[str] = []
        used: dict[str, None] = {}
        self.subsets: dict[str, StoredTexts] = {}
        self.has_masks = True
        self._names = StoredTexts()
        for element in _children(path):
            named += [text_of(label, "name") for label in element.iterfind(".//labels/label") if element.tag == "meta"]
            if element.tag == "image":
                used |= dict.fromkeys(shape.get("label", "") for shape in element if shape.tag in _OUTLINES)
                self._add(element)
        self.labels = [name for name in named or used if name]

    def _add(self, image: Element) -> None:
        name, subset = image.get("name", ""), image.get("subset", "")
        if subset not in self.subsets:
            self.subsets[subset] = StoredTexts()
        for names in (self._names, self.subsets[subset]):
            names.append(name)
        self.has_masks = self.has_masks and all(one.has_outline for one in objects_of(_pieces(image)).values())

    def images_of(self, subset: str) -> Sequence[str]:
        """Names of the images of a subset, or of all for ""."""
        return self.subsets[subset] if subset else self._names


def gather(part: Part, report: Report, new_list: Callable = list) -> InstanceContent:
    """Boxes and masks of one part, before the checks.

    Args:
        new_list: see `InstanceContent`.

    Raises:
        ValueError: a file that cannot be read; through `report` an image without a name or size, or a shape that is
            none.
    """
    content = InstanceContent(part, dict(enumerate(part.options["names"], 1)), report, new_list)
    numbers = count(1)  # of images
    for file, subset in part.options["files"]:
        resolver = NameResolver(part.images, part.options["search"], file)
        is_kept = new_list is list  # else it is too much to be read at once
        seen = _seen_by_hotcoco(file, subset, part.options["names"]) if is_kept else None
        for image in seen or ():
            path = resolver.path_of(image.name, report)
            _add_seen(content, next(numbers), path, image, part.options["names"])
        if seen is None:
            _add_images(content, numbers, _images(file, subset), resolver, report)
    return content


def _seen_by_hotcoco(file: str, subset: str, names: Sequence[str]) -> list[ReadImage] | None:
    """The images of a file; None where our own reader has to look."""
    seen = None if subset else read_cvat(file)
    labels = {one.label for image in seen or () for one in image.objects}
    return seen if labels <= set(names) else None


def _add_seen(content: InstanceContent, number: int, path: str, image: ReadImage, names: Sequence[str]) -> None:
    content.add_image(number, path, image.size)
    for one in image.objects:
        category = names.index(one.label) + 1
        if one.polygon is None:
            content.add_box(number, category, one.bbox)
        else:
            content.add(number, category, image.size, Shapes(polygons=[one.polygon]))


def _add_images(
    content: InstanceContent, numbers: Iterator[int], images: Iterator[Element], resolver: NameResolver, report: Report
) -> None:
    """The images of a file, and their objects."""
    file = resolver.source
    for image, number in zip(images, numbers):
        content.skip(file, [shape.tag for shape in image if shape.tag in _NO_OUTLINES])
        try:
            size = _whole(image, "height"), _whole(image, "width")
            path = resolver.path_of(_named(image), report)
        except ValueError as error:
            name = image.get("name", "")
            content.error("unusable-image", file, f"{file}: image {name!r} {error}.", (name,) if name else ())
            continue
        if content.add_image(number, path, size):
            content.add_objects(number, size, _pieces(image), file, f"{file}: image {image.get('name')!r}")


def _children(path: str) -> Iterator[Element]:
    """What is in the root of a file.

    Raises:
        ValueError: it is damaged, or has tracks.
    """
    for element in children_of(path):
        if element.tag == "track":
            message = (
                f"{path} has tracks of a video, which say nothing between their key frames: export the task as "
                "'CVAT for images 1.1'."
            )
            raise refusal("video-tracks", path, message)
        yield element


def _places(listing: Listing, seen: Mapping[str, _Seen], wanted: WantedParts) -> dict[str, list[tuple[str, str]]]:
    """Files of each part, each with the subset of which the images are, "" for all."""
    parts = defaultdict(list)
    named = {}
    for part, place in wanted.items():
        if place:
            folder = relative_to_root(listing, part, place)
            chosen = [path for path in seen if path == folder or is_below(path, folder)]
            if not chosen:
                raise ValueError(f"data.{part}={place} has no XML file of CVAT: name one, or a folder of them.")
            named |= dict.fromkeys(chosen, part)
    for path, one in seen.items():
        subsets = list(one.subsets)
        if not subsets:
            raise refusal("no-images", listing.absolute(path), f"{path} has no image.")
        for subset in subsets if path not in named and any(subsets) else [""]:
            parts[named.get(path) or part_of_name(subset) or part_of_path(path) or "train"].append((path, subset))
    return parts


def _images(path: str, subset: str) -> Iterator[Element]:
    """The images of a subset, or all for ""."""
    images = (element for element in _children(path) if element.tag == "image")
    return (image for image in images if not subset or image.get("subset") == subset)


def _pieces(image: Element) -> Iterator[Piece]:
    for place, element in enumerate(image, 1):
        if element.tag in _OUTLINES:
            group = element.get("group_id", "0")
            yield Piece(place, element.get("label", ""), None if group == "0" else group, partial(_draw, element))


def _draw(element: Element, shapes: Shapes) -> None:
    """Adds a shape to its object.

    Raises:
        ValueError: a phrase that says what the shape lacks.
    """
    if element.tag == "mask":
        shapes.pixels.append(_pixels(element))
    elif element.tag == "polygon":
        shapes.polygons.append(_polygon(element))
    elif element.tag == "ellipse":
        center_and_radii = [number_of(element.get(key), key) for key in ("cx", "cy", "rx", "ry")]
        shapes.polygons.append(ellipse(*center_and_radii, degrees=_rotation(element)))
    else:
        x0, y0, x1, y1 = (number_of(element.get(key), key) for key in ("xtl", "ytl", "xbr", "ybr"))
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        degrees = _rotation(element)
        corners = turned(points, ((x0 + x1) / 2, (y0 + y1) / 2), degrees) if degrees else points
        shapes.boxes.append(box_around(corners))


def _rotation(element: Element) -> float:
    return number_of(element.get("rotation", "0"), "rotation")


def _polygon(element: Element) -> Polygon:
    points = [pair.split(",") for pair in element.get("points", "").split(";")]
    if len(points) < 3 or any(len(pair) != 2 for pair in points):
        raise ValueError(f"has the points {element.get('points', '')[:40]!r}: write three or more as x,y;x,y;x,y")
    return [number_of(value, "points") for pair in points for value in pair]


def _pixels(element: Element) -> Pixels:
    """Runs of background and object in turn, row by row within the rectangle at left, top."""
    left, top = (int(number_of(element.get(key), key)) for key in ("left", "top"))
    width, height = _whole(element, "width"), _whole(element, "height")
    runs = element.get("rle", "").split(",")
    if not all(run.strip().isdecimal() for run in runs):
        raise ValueError(f"has the rle {element.get('rle', '')[:40]!r}, which is no list of whole numbers")
    lengths = list(map(int, runs))
    if sum(lengths) != width * height or width * height > _MOST_PIXELS:
        raise ValueError(f"has an rle of {sum(lengths)} pixels in a rectangle of {width} x {height}")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(height, width), left, top


def _named(image: Element) -> str:
    if not image.get("name"):
        raise ValueError("has no name")
    return image.get("name", "")


def _whole(element: Element, key: str) -> int:
    text = element.get(key, "")
    if not text.isdecimal() or not int(text):
        raise ValueError(f"has the {key} {text!r}, which is no whole number of pixels")
    return int(text)


LAYOUT = Layout(
    name="cvat",
    kind="instances",
    summary="CVAT for images 1.1: an XML file with boxes, polygons and masks of many images",
    find=find,
    read=lambda part, report: gather(part, report).checked(),
    gather=gather,
)

"""YOLO detection and segmentation, as ultralytics, Roboflow, Label Studio, CVAT, labelImg and darknet write them.

    Classes      `names` of data.yaml, a list or a mapping; without a yaml classes.txt, obj.names or the like, a name a
                 line. Ids are the numbers of the label files, which prediction files keep.
    Parts        train, val and test of the yaml: a folder, a list of folders, or a text file of images. Paths that do
                 not exist as written (Roboflow's ../train/images, CVAT's data/, those of another machine) are looked
                 for below the root without their first steps. Without a yaml folders say the parts.
    Label file   of an image: the last folder `images` in its path replaced by `labels`, else beside it; none: the image
                 holds nothing
    Lines        class and box (center, width, height), or class and three corners or more, in shares of the image as
                 it is shown, turned by its EXIF orientation; both may stand in one file, which ultralytics drops. Boxes
                 are taken as written, corners up to 1 % outside are moved to the edge, as ultralytics allows for both;
                 more is an error. Of poses (kpt_shape) the box is taken.

hotcoco 1.3 wants data.yaml among the label files, refuses polygons and names that are a list with dashes, leaves out
sub-folders and images without a label file, and takes shares above 1: docs/formats.md has the whole comparison.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Report, refusal
from ..shards.files import is_folder
from .dataset import Part
from .instance_content import InstanceContent, instances_found
from .layout import Found, Layout, WantedParts
from .listing import Listing
from .shapes import Corners, Polygon, Shapes, Size
from .text_lines import filled_lines, text_lines
from .yolo_files import YoloFiles, find_files, images_of, label_file, labels_without_image

logger = logging.getLogger(__name__)

_TOLERANCE = 0.01  # share of the image
_DIGITS = 9  # of pixels: what was a whole number before it was divided by a side is one again, and the mask the same

Numbers = list[float]


def find(listing: Listing, wanted: WantedParts) -> Found | None:
    """Looks for data.yaml, or for names and label files.

    Raises:
        ValueError: the yaml cannot be used, or a part has no label file.
    """
    files = find_files(listing, wanted)
    if files is None:
        return None
    root = str(listing.root)
    counts = {part: sum(1 for _ in _label_files(part, files, root)) for part in files.sources}
    if not counts.get("test", True) and not wanted.get("test"):
        logger.warning("%s: the images of test have no label files; the part is left out.", files.source)
        del counts["test"]
    for part, count in counts.items():
        if not count:
            raise refusal("no-labels", files.source, _without_labels(part, files, root))
    options = {"ids": list(files.names), "names": list(files.names.values())}
    options |= {"deep": files.deep, "keypoints": files.keypoints}
    parts = {part: Part(root, files.source, {**options, "sources": files.sources[part]}) for part in counts}
    paths = (path for part in counts for path in _label_files(part, files, root))
    has_masks = not files.keypoints and all(map(_has_polygons_only, paths))
    texts = ", ".join(f"{part} {count}" for part, count in counts.items())
    reason = f"{Path(files.source).name} with {len(files.names)} classes; images with a label file: {texts}"
    return instances_found(parts, files.names, files.source, reason, has_masks)


def gather(part: Part, report: Report, new_list: Callable = list) -> InstanceContent:
    """Boxes and masks of one part, before the checks.

    Args:
        new_list: see `InstanceContent`.

    Raises:
        ValueError: through `report`: an image that cannot be read, or a line that says no object.
    """
    names = dict(zip(part.options["ids"], part.options["names"]))
    content = InstanceContent(part, names, report, new_list)
    images = images_of(part.options["sources"], part.images, part.options["deep"])
    for number, image in enumerate(images, 1):
        size = content.add_image(number, image, None)
        file = label_file(image, part.images) if size else None
        if size and file:
            _add_lines(content, number, size, file, names, part.options["keypoints"])
    if all(map(is_folder, part.options["sources"])):
        lone = labels_without_image(images, part.images)
        message = f"{some_of(lone)} have labels, but no image of their name: correct the names, or remove them."
        content.warn("label-without-image", part.annotations, message, lone)
    return content


def _label_files(part: str, found: YoloFiles, root: str) -> Iterator[Path]:
    images = images_of(found.sources[part], root, found.deep)
    return (file for image in images if (file := label_file(image, root)))


def _without_labels(part: str, found: YoloFiles, root: str) -> str:
    images = images_of(found.sources[part], root, found.deep)
    return (
        f"None of the {len(images)} images of {part} that {found.source} names has a label file, neither in a folder "
        f"labels in place of images nor beside it: {some_of(images, 1) or 'there is no image'}."
    )


def _has_polygons_only(path: Path) -> bool:
    try:
        return all(len(line.split()) > 5 for line in filled_lines(path))
    except ValueError:  # reported where the file is read
        return False


def _add_lines(
    content: InstanceContent, image: int, size: Size, path: Path, names: Mapping[int, str], keypoints: bool
) -> None:
    """The objects of one label file."""
    try:
        lines = text_lines(path)
    except ValueError as error:
        content.failed("unusable-file", path, error, image)
        return
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            category, shares = _parsed(line, names, keypoints)
        except ValueError as error:
            content.error("unusable-line", path, f"{path}, line {number}, {error}.", (number,), image)
            continue
        is_box = len(shares) == 4
        shapes = Shapes(boxes=[_corners(shares, size)]) if is_box else Shapes(polygons=[_polygon(shares, size)])
        content.add(image, category, size, shapes)


def _parsed(line: str, names: Mapping[int, str], keypoints: bool) -> tuple[int, Numbers]:
    """Class, and the 4 numbers of a box or the x and y of corners.

    Raises:
        ValueError: a phrase that says what the line has.
    """
    words = line.split()
    try:
        category, *shares = map(float, words)
    except ValueError:
        raise ValueError(f"has something else than numbers: {some_of(words, 8)}") from None
    if keypoints:
        shares = shares[:4]
    if len(shares) != 4 and (len(shares) < 6 or len(shares) % 2):
        raise ValueError(
            f"has {len(words)} numbers: write a class and 4 for a box, or pairs x, y for 3 corners or more"
        )
    if category not in names:
        raise ValueError(f"has the class {words[0]}, but the names are of {some_of(names, 20)}")
    if outside := [word for word, share in zip(words[1:], shares) if not -_TOLERANCE <= share <= 1 + _TOLERANCE]:
        raise ValueError(f"has {some_of(outside)}, which is not between 0 and 1: divide by the width and height")
    return int(category), shares


def _corners(shares: Numbers, size: Size) -> Corners:
    """x0, y0, x1, y1 in pixels of a box in shares."""
    height, width = size
    x, y, w, h = shares
    corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    x0, y0, x1, y1 = (round(corner, _DIGITS) for corner in corners)
    return x0, y0, x1, y1


def _polygon(shares: Numbers, size: Size) -> Polygon:
    sides = (size[1], size[0])
    return [round(min(max(share, 0.0), 1.0) * sides[place % 2], _DIGITS) for place, share in enumerate(shares)]


LAYOUT = Layout(
    name="yolo",
    kind="instances",
    summary="YOLO: data.yaml or classes.txt, and a text file of boxes or polygons for each image",
    find=find,
    read=lambda part, report: gather(part, report).checked(),
    gather=gather,
)

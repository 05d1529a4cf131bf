"""Images in and below a folder for each class: train/CLASS/*, val/CLASS/*, or CLASS/* alone."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from PIL import Image

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Fault, Report, refusal
from ..class_map import class_map
from ..image_reading import READ_ERRORS
from ..shards.files import open_file
from .annotation_files import assign_parts, described_parts
from .dataset import ListedImage, ListedImages, Part
from .label_pairs import LABEL_FOLDERS, LABEL_SUFFIXES
from .layout import Found, Layout, WantedParts
from .listing import Listing, ancestors, is_below
from .part_names import part_of_name
from .stored_texts import KeyedTexts, StoredTexts

_OF_PAIRS = "images"  # under which images are counted that lie in folders of images or labels within others
_IMAGE_FOLDERS = {_OF_PAIRS, "image", "img", "imgs", "imagesets", "jpegimages", "photos"}
_NO_CLASSES = LABEL_FOLDERS | _IMAGE_FOLDERS
_MOST_LABELS = 256  # different colors of a label file; photos have more


def find(listing: Listing, wanted: WantedParts) -> Found | None:
    """Folders of class folders, which are called after a part, or the root itself."""
    folders = _parents_of_classes(listing)
    if not folders:
        return None
    chosen = assign_parts(listing, sorted(folders), wanted)
    names = {part: folders[path] for part, path in chosen.items()}
    first = next(iter(names))
    classes = sorted(names[first])
    options = {"classes": classes, "classes_of": listing.absolute(chosen[first])}
    counts = {part: sum(own.values()) for part, own in names.items()}
    return Found(
        parts={part: Part(listing.absolute(path), listing.absolute(path), options) for part, path in chosen.items()},
        classes=class_map(classes, classes),
        reason=f"class folders {described_parts(chosen, counts)}",
    )


def _parents_of_classes(listing: Listing) -> dict[str, dict[str, int]]:
    """Folders of class folders, which are those of parts or else the root, with the number of images in and below each
    class folder; none without two classes.

    Raises:
        ValueError: images lie beside the class folders of a part, or a folder of images beside those of classes is
            called after a part.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)  # by parent and class, "" for images in no class folder
    parents = _part_folders(listing)
    for folder, images in listing.image_counts.items():
        parent = parents[folder]
        name, *deeper = folder.removeprefix(parent).lstrip("/").split("/")
        of_pairs = (LABEL_FOLDERS if parent else _NO_CLASSES) & {step.lower() for step in deeper}
        counts[parent][_OF_PAIRS if of_pairs else name] += images
    found = {parent: dict(own) for parent, own in counts.items() if _are_classes(listing, parent, own)}
    flat = [parent for parent in counts if parent and "/" not in parent and parent not in found]
    if len(found.get("", ())) > 1 and len(found) == 1 and flat:
        message = (
            f"{listing.root} has the folder {flat[0]}, which is called after a part, among class folders such as "
            f"{some_of(sorted(found['']), 2)}: move all class folders into a folder named train."
        )
        raise refusal("part-among-classes", listing.root, message, flat)
    if len(found) > 1:
        found.pop("", None)
    return found if len(set().union(*found.values())) > 1 else {}


def _part_folders(listing: Listing) -> dict[str, str]:
    """Of each folder of images the highest one that is called after a part and has others than such in it, or else "":
    of `dev_set/train/cat` that is `dev_set/train`."""
    inside: dict[str, set[str]] = defaultdict(set)  # names in a folder, "" for images
    for folder in listing.image_counts:
        inside[folder].add("")
        for one in ancestors(folder):
            above, _, name = one.rpartition("/")
            inside[above].add(name)

    def is_part(folder: str) -> bool:
        return bool(part_of_name(folder.rpartition("/")[2])) and not all(map(part_of_name, inside[folder]))

    return {folder: min(filter(is_part, ancestors(folder)), key=len, default="") for folder in listing.image_counts}


def _are_classes(listing: Listing, parent: str, counts: Counter[str]) -> bool:
    """Whether the folders in a parent are those of classes."""
    names = {name.lower() for name in counts if name}
    if not names or names & _IMAGE_FOLDERS or any(_has_labels(listing, parent, name) for name in counts):
        return False
    if parent and len(names) > 1 and 0 < counts[""] < counts.total() / 2:
        file = listing.absolute(parent)
        message = (
            f"{file} has {counts['']} images beside its class folders {some_of(sorted(names), 3)}: move them into a "
            "class folder, or elsewhere."
        )
        loose = (path.rpartition("/")[2] for path in listing.images_in(parent))
        raise refusal("image-without-class", file, message, loose)
    return not counts[""]


def _has_labels(listing: Listing, parent: str, name: str) -> bool:
    """Whether a folder is called after label files and holds some, not photos of a class that is called so: most have
    the stem of an image in another folder, and the first of them has few colors."""
    if name.lower() not in LABEL_FOLDERS:
        return False
    top = f"{parent}/{name}".lstrip("/")
    inside = listing.below(top, listing.images)
    labels = StoredTexts(path for path in inside if path.lower().endswith(LABEL_SUFFIXES))
    by_stem = KeyedTexts(listing.images, _stem)
    paired = StoredTexts(path for path in labels if not all(is_below(one, top) for one in by_stem.found(_stem(path))))
    if not paired or 2 * len(paired) < len(labels):
        return False
    try:
        with open_file(listing.absolute(paired[0])) as file, Image.open(file) as image:
            return image.getcolors(_MOST_LABELS) is not None
    except READ_ERRORS:
        return True


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


def read(part: Part, report: Report) -> ListedImages:
    """The images of a part; the class of each is the name of its folder.

    Raises:
        ValueError: through `report`: images in no class folder, or in one that the first part lacks.
    """
    listing = Listing(part.annotations)
    images = StoredTexts(path for path in listing.images if "/" in path)
    if loose := StoredTexts(listing.images_in("")):
        message = f"{len(loose)} images in {part.annotations} are in no class folder: {some_of(loose)}; move them."
        report(Fault("image-without-class", "error", part.annotations, message, tuple(loose), len(loose)))
    known = _of_known_classes(images, part, report)
    return ListedImages(known, lambda path: ListedImage(listing.absolute(path), _class_of(path)))


def _class_of(path: str) -> str:
    return path.split("/")[0]


def _of_known_classes(images: Sequence[str], part: Part, report: Report) -> Sequence[str]:
    """Without those of classes that the first part has no folder of."""
    known = part.options.get("classes")
    if known is None or not (new := sorted(set(map(_class_of, images)) - set(known))):
        return images
    message = (
        f"{part.annotations} has the class folders {some_of(new, 5)}, which {part.options['classes_of']} lacks: give "
        "both a folder for every class."
    )
    report(Fault("unusable-class-folder", "error", part.annotations, message, tuple(new), len(new)))
    return StoredTexts(path for path in images if _class_of(path) in known)


LAYOUT = Layout("class-folders", "classification", "a folder of images for each class, in each part", find, read)

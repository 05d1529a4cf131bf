"""Images in a folder for each class: train/CLASS/*, val/CLASS/*, or CLASS/* alone."""

from collections import defaultdict

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Fault, Report
from ..class_map import class_map
from .annotation_files import assign_parts, described_parts
from .dataset import ListedImage, Part
from .label_pairs import LABEL_FOLDERS
from .layout import Found, Layout, WantedParts
from .listing import Listing
from .part_names import part_of_name

_NO_CLASSES = LABEL_FOLDERS | {"image", "images", "img", "imgs", "imagesets", "jpegimages", "photos"}


def find(listing: Listing, wanted: WantedParts) -> Found | None:
    """Folders of class folders, which are called after a part, or the root itself."""
    folders = _parents_of_classes(listing)
    if not folders:
        return None
    chosen = assign_parts(listing, sorted(folders), wanted)
    names = {part: folders[path] for part, path in chosen.items()}
    first, train = next(iter(names.items()))
    for part, own in names.items():
        if new := sorted(set(own) - set(train)):
            raise ValueError(
                f"{listing.absolute(chosen[part])} has the class folders {some_of(new, 5)}, which "
                f"{listing.absolute(chosen[first])} lacks: give the part {first!r} a folder for every class."
            )
    counts = {part: sum(own.values()) for part, own in names.items()}
    return Found(
        parts={part: Part(listing.absolute(path), listing.absolute(path)) for part, path in chosen.items()},
        classes=class_map(sorted(train), sorted(train)),
        reason=f"class folders {described_parts(chosen, counts)}",
    )


def _parents_of_classes(listing: Listing) -> dict[str, dict[str, int]]:
    """Folders all of whose images lie in folders in them, with the number of images of each of those; none without two
    classes."""
    parents: dict[str, dict[str, int]] = defaultdict(dict)
    for folder, images in listing.images_by_folder.items():
        parent, _, name = folder.rpartition("/")
        if folder:
            parents[parent][name] = len(images)
    found = {
        parent: classes
        for parent, classes in parents.items()
        if parent not in listing.images_by_folder
        and (not parent or part_of_name(parent.rpartition("/")[2]))
        and not any(part_of_name(name) or name.lower() in _NO_CLASSES for name in classes)
    }
    return found if len(set().union(*found.values())) > 1 else {}


def read(part: Part, report: Report) -> list[ListedImage]:
    """The images of a part; the class of each is the name of its folder."""
    listing = Listing(part.annotations)
    images = [ListedImage(listing.absolute(path), path.split("/")[0]) for path in listing.images if "/" in path]
    if loose := [path for path in listing.images if "/" not in path]:
        message = f"{len(loose)} images in {part.annotations} are in no class folder: {some_of(loose)}; move them."
        report(Fault("image-without-class", "error", part.annotations, message, tuple(loose[:20]), len(loose)))
    return images


LAYOUT = Layout("class-folders", "classification", "a folder of images for each class, in each part", find, read)

"""Which images a mended copy leaves out: those that are there twice, or learned in one part and scored in another."""

from collections.abc import Sequence

from ..annotations.ids import Id
from ..checks.duplicates import Likeness, compare_files
from ..checks.repeated_images import Alike, FoundImage
from ..folders.contents import ImageFile, image_files
from ..folders.dataset import PARTS, FolderDataset, image_name
from ..folders.image_lists import split_names
from ..folders.layouts import LAYOUTS

LeftOut = dict[str, dict[Id, str]]  # by part on disk and id of the image, the reason


def repeated_to_leave_out(dataset: FolderDataset, alike: Sequence[Alike]) -> LeftOut:
    """Of images with the same pixels all but one, that of test before that of val before that of train, and of those of
    one part the one with the most labels; of images of two parts that are nearly the same, that of train.

    Where validation images are still to be split off, none of the others is nearly the same as one of them then.

    Args:
        alike: what the check has found in this reading of the folder.
    """
    leaving = _Leaving(dataset)
    for group in alike:
        if group.is_exact:
            leaving.all_but_one(group.images)
    near = [group.images for group in alike if not group.is_exact]
    if dataset.split is None:
        leaving.apart(near, {image: image.part for pair in near for image in pair})
        return leaving.reasons
    files = image_files(LAYOUTS[dataset.layout].read(dataset.parts["train"], lambda fault: None)) if near else {}
    while leaving.apart(near, leaving.drawn(near, files)):  # each image that goes may move others to validation
        pass
    return leaving.reasons


class _Leaving:
    """What is left out so far."""

    def __init__(self, dataset: FolderDataset) -> None:
        self.dataset = dataset
        self.reasons: LeftOut = {name: {} for name in dataset.parts_on_disk()}

    def all_but_one(self, images: Sequence[FoundImage]) -> None:
        """Keeps one of some images that are the same."""
        left = [image for image in images if not self._is_gone(image)]
        if len(left) > 1:
            kept = max(left, key=lambda image: (PARTS.index(image.part), image.labels))
            others = [image for image in left if image is not kept]
            same = compare_files([(kept.file, image.file) for image in others], threads=1)
            for image, likeness in zip(others, same, strict=True):
                if likeness is Likeness.EXACT:
                    self._leave(image, f"it is the same image as {kept}, which stays")

    def apart(self, pairs: Sequence[Sequence[FoundImage]], part_of: dict[FoundImage, str]) -> bool:
        """Leaves out one of each two images of different parts; whether there were any."""
        found = False
        for pair in pairs:
            first, second = sorted(pair, key=lambda image: PARTS.index(part_of.get(image, image.part)))
            if part_of.get(first) != part_of.get(second) and not (self._is_gone(first) or self._is_gone(second)):
                self._leave(first, f"it is nearly the same image as {second.file}, by which it would be scored")
                found = True
        return found

    def drawn(self, pairs: Sequence[Sequence[FoundImage]], files: dict[str, ImageFile]) -> dict[FoundImage, str]:
        """The part of each image once validation images are split off from those that are left."""
        part = self.dataset.parts["train"]
        images = {image for pair in pairs for image in pair}
        gone = {image.file for image in images if self._is_gone(image)}
        left = {file: known for file, known in files.items() if file not in gone}
        try:
            val = set(split_names(self.dataset, part, left)["val"])
        except ValueError:  # too few to be split
            return {}
        names = {image: image_name(image.file, part) for image in images}
        return {
            image: image.part if image.part == "test" else "val" if name in val else "train"
            for image, name in names.items()
        }

    def _place(self, image: FoundImage) -> str:
        return "train" if image.part not in self.reasons else image.part

    def _is_gone(self, image: FoundImage) -> bool:
        return image.image_id in self.reasons[self._place(image)]

    def _leave(self, image: FoundImage, reason: str) -> None:
        self.reasons[self._place(image)][image.image_id] = reason

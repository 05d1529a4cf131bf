"""What the readers of other layouts find, gathered as content in COCO's format and passed through COCO's rules."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Fault, Report, fault_of, strict
from ..annotations.instances import CocoInstances, check_instances
from ..annotations.json_file import Entry
from ..image_reading import read_orientation_and_size
from .dataset import Part, image_name
from .layout import Found
from .same_classes import one_list
from .shapes import Piece, Shapes, Size, objects_of
from .stored_texts import StoredTexts, TextSet

logger = logging.getLogger(__name__)


class InstanceContent:
    """Images and objects of one part.

    Args:
        part: what is read.
        names: of the classes, by their ids in prediction files.
        report: takes what is wrong.
        new_list: makes what the entries are kept in: a list, or something else that has `append`, and that gives each
            entry once all are added.
    """

    def __init__(self, part: Part, names: dict[int, str], report: Report, new_list: Callable[[], Any] = list) -> None:
        self._part, self._names, self._report = part, names, report
        self._images = new_list()
        self._last: dict[int, str] = {}  # id of the image that was added last, by its number
        self._labelled = ""  # id of the image of the object that was added last
        self._lacking: dict[str, bool] = {}  # ids of images of which an object was left out, and whether one is left
        self._annotations = new_list()
        self._count = 0  # of objects
        self._seen = TextSet()  # names of images
        self._repeated: Counter[str] = Counter()  # names that are given more than once
        self._skipped: Counter[str] = Counter()  # shapes that are left out, by their kind
        self._skipped_in = StoredTexts()  # files

    def error(
        self, kind: str, file: str | Path, message: str, ids: Sequence[object] = (), image: int | None = None
    ) -> None:
        """Reports an error about one entry, which is left out if the report returns.

        Args:
            image: number of the image that loses an object by it.
        """
        self._report(Fault(kind, "error", str(file), message, tuple(map(str, ids))))
        if image is not None:
            self._lacking[self._last[image]] = self._labelled == self._last[image]

    def failed(self, kind: str, file: str | Path, error: Exception, image: int | None = None) -> None:
        """Reports the error that reading a file of labels has ended with, as the fault that it carries or of a kind."""
        fault = fault_of(error, kind, file)
        self.error(fault.kind, fault.file, fault.message, fault.ids, image)

    def warn(self, kind: str, file: str, message: str, ids: Sequence[str]) -> None:
        """Reports, and says in training and scoring, what is left out of a file or folder, if there is anything."""
        if ids:
            self._report(Fault(kind, "warning", file, message, tuple(ids), len(ids)))
            if self._report is strict:
                logger.warning(message)

    def warn_of_unlabelled(self, images: Sequence[str], what: str) -> None:
        """Reports images that have no file of labels and are left out, if there are any."""
        names = some_of(Path(image).name for image in images)
        message = (
            f"{self._part.images} has {len(images)} images without {what}, which are left out ({names}): write one "
            "without objects for images of nothing."
        )
        self.warn("unlabelled-image", self._part.images, message, images)

    def skip(self, file: str, kinds: Sequence[str]) -> None:
        """Keeps for `content` which kinds of shapes of a file, or of the next image in it, are left out because they
        have no box."""
        self._skipped.update(kinds)
        if kinds and not (self._skipped_in and self._skipped_in[-1] == file):
            self._skipped_in.append(file)

    def _warn_of_skipped(self) -> None:
        counts = some_of((f"{count} {kind}" for kind, count in self._skipped.most_common()), 10)
        message = (
            f"{some_of(self._skipped_in)}: shapes that are no objects with a box or an outline are left out: {counts}."
        )
        self.warn("skipped-shape", self._part.annotations, message, self._skipped_in)

    def add_image(self, number: int, path: str | Path, size: Size | None) -> Size | None:
        """An image by its number in the part; its id is its name, so that predictions say which picture they are of.

        Args:
            size: as the file of labels says it; None to look into the image.

        Returns:
            Its size; None if the image cannot be read, which is reported.
        """
        if size is None:
            try:
                size = upright_size(path)
            except ValueError as error:
                self.error("unreadable-image", path, str(error), (image_name(str(path), self._part),))
                return None
        self._last = {number: self._free_id(path)}
        self._images.append({"id": self._last[number], "file_name": str(path), "height": size[0], "width": size[1]})
        return size

    def _free_id(self, path: str | Path) -> str:
        """The name of an image; of one that several files of labels name, the later ones with a number."""
        name = image_name(str(path), self._part)
        if self._seen.add(name):
            return name
        self._repeated[name] += 1
        return f"{name}#{self._repeated[name] + 1}"

    def add(self, image: int, category: int, size: Size, shapes: Shapes, *, ignore: bool = False) -> None:
        """An object of the image that was added last, by its pieces; it has a mask if one of them is an outline."""
        self._add(image, category, shapes.entry(size), ignore)

    def add_box(self, image: int, category: int, bbox: list[float], *, ignore: bool = False) -> None:
        """The same without a mask, by x, y, width and height in pixels from 0."""
        self._add(image, category, {"bbox": bbox, "area": bbox[2] * bbox[3]}, ignore)

    def _add(self, image: int, category: int, place: Entry, ignore: bool) -> None:
        self._count += 1
        self._labelled = self._last[image]
        if self._labelled in self._lacking:
            self._lacking[self._labelled] = True
        entry = {"id": self._count, "image_id": self._last[image], "category_id": category, "iscrowd": 0}
        self._annotations.append(entry | place | ({"ignore": 1} if ignore else {}))

    def add_objects(self, image: int, size: Size, pieces: Iterable[Piece], file: str, where: str) -> None:
        """The objects that the shapes of an image make; a shape that is none is reported.

        Args:
            where: the shapes are, for messages.
        """

        def heard(place: int, problem: str) -> None:
            self.error("unusable-shape", file, f"{where} shape {place} {problem}.", (place,), image)

        ids = {name: key for key, name in self._names.items()}
        for (label, place), shapes in objects_of(pieces, heard).items():
            if label in ids:
                self.add(image, ids[label], size, shapes)
            else:
                heard(
                    place, f"has the label {label!r}, which is none of {some_of(ids, 10)}" if label else "has no label"
                )

    def _note_lacking(self) -> None:
        """Reports images that have lost an object to an error, and those of them that have none left."""
        for image in self._images if self._lacking else ():
            if (is_labelled := self._lacking.get(image["id"])) is not None:
                has = "some of its objects" if is_labelled else "all of its objects, so that it holds nothing"
                message = f"{image['file_name']} lacks {has}: the errors say what is left out; mend the labels."
                self._report(Fault("image-lacks-object", "note", image["file_name"], message, (image["id"],)))

    def checked(self) -> CocoInstances:
        """What was added, after the checks of every instances set.

        Raises:
            ValueError: as `check_instances`.
        """
        return check_instances(self.content(), self._part.annotations, self._report, is_converted=True)

    def content(self) -> dict[str, Any]:
        """What was added, in COCO's format, once it is all; reports what was left out of it."""
        self._warn_of_skipped()
        self._note_lacking()
        categories = [{"id": key, "name": name} for key, name in self._names.items()]
        return {"images": self._images, "annotations": self._annotations, "categories": categories}


def instances_found(
    parts: Mapping[str, Part], names: Mapping[int, str], source: str | Path, reason: str, has_masks: bool = False
) -> Found:
    """What a layout sees whose classes all parts have from one list.

    Args:
        parts: by name.
        names: of the classes, by their ids.
        source: the file of the names, or the folder.

    Raises:
        FaultError: they are no class list; the message names the source.
    """
    listed = one_list({str(source): names})
    options = listed.options(str(source))
    parts = {name: replace(part, options={**part.options, **options}) for name, part in parts.items()}
    return Found(parts, listed.classes, reason, has_masks, listed.faults)


def upright_size(path: str | Path) -> Size:
    """Height and width of an image as viewers and training show it, turned by its EXIF orientation.

    Raises:
        ValueError: the file is missing, or no image.
    """
    try:
        return read_orientation_and_size(str(path))[1]
    except FileNotFoundError as error:
        raise ValueError(str(error)) from None

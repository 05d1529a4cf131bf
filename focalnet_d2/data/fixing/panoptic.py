"""A mended panoptic set: a JSON that says what the pixels of its PNGs say."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..annotations.ids import Id
from ..annotations.json_file import Entry, read_json
from ..annotations.panoptic import PanopticAnnotations, check_panoptic
from ..annotations.segments import segment_name
from ..checks.panoptic import agrees_with_pixels, extents_of
from ..folders.layouts import LAYOUTS
from ..label_maps import check_label_size
from ..panoptic_labels import read_panoptic_ids
from ..panoptic_png import write_panoptic_ids
from .changes import Changes, Snapshot
from .images import ImageFolder, link_or_copy
from .instances import place_images
from .json_files import write_json
from .task import Task


def write_panoptic(task: Task, folder: ImageFolder, path: Path) -> None:
    """Writes the mended JSON and PNGs of a part, and its images.

    Args:
        folder: for the images.
        path: of the JSON; the PNGs are put beside `folder`, in one called `panoptic_` and the name of the part.

    Raises:
        ValueError: nothing is left that could be found.
    """
    part, changes = task.part, task.changes
    raw = read_json(part.annotations)
    before = Snapshot({key: raw.get(key, []) for key in ("images", "categories", "annotations")})
    names = _segment_names(raw)
    segments = Snapshot({"segments": [segment for segment, _ in names.values()]})
    content = check_panoptic(raw, part.annotations, changes.fault)
    left = [segment for annotation in content.segments.values() for segment in annotation["segments_info"]]
    segments.compare("segments", left, content.source, changes, names={key: name for key, (_, name) in names.items()})
    label_files = _absolute(content, LAYOUTS[task.dataset.layout].read(part, changes.choice))
    images, reasons = place_images(list(content.images.values()), folder, task)
    placed = {image["id"]: image for image in images}
    mender = _Mender(content, folder.folder.with_name(f"panoptic_{task.name}"), changes)
    annotations, why = [], {}
    for image_id, annotation in content.segments.items():
        try:
            if image_id not in placed:
                raise ValueError("its image is left out")
            annotations.append(mender.mended(annotation, placed[image_id], label_files[image_id]))
        except (ValueError, OSError) as error:
            why[id(annotation)] = str(error)
    before.compare("annotations", annotations, content.source, changes, why)
    before.compare("images", images, content.source, changes, reasons)
    before.compare("categories", content.categories, content.source, changes)
    mended = {**raw, "images": images, "categories": content.categories, "annotations": annotations}
    write_json(mended, path)
    try:
        check_panoptic(mended, content.source)
    except ValueError as error:
        raise ValueError(f"{content.source} cannot be mended: {error}") from error


def _segment_names(raw: dict[str, Any]) -> dict[int, tuple[Entry, str]]:
    """All segments of a file with their names, by Python's `id` of them."""
    annotations = [entry for entry in raw.get("annotations", ()) if isinstance(entry, dict)]
    return {
        id(segment): (segment, segment_name(annotation.get("image_id"), segment.get("id")))
        for annotation in annotations
        if isinstance(annotation.get("segments_info"), list)
        for segment in annotation["segments_info"]
        if isinstance(segment, dict)
    }


def _absolute(content: PanopticAnnotations, found: PanopticAnnotations) -> dict[Id, str]:
    """Sets the file names of the images to what the layout finds, and returns those of the PNGs."""
    for image_id, image in content.images.items():
        image["file_name"] = found.images[image_id]["file_name"]
    return {image_id: found.segments[image_id]["file_name"] for image_id in content.segments}


class _Mender:
    """Mends the segments of one image after the other.

    Args:
        folder: for the PNGs.
    """

    def __init__(self, content: PanopticAnnotations, folder: Path, changes: Changes) -> None:
        self.source, self.folder, self.changes = content.source, folder, changes
        self.stuff = {category["id"] for category in content.categories if not category["isthing"]}

    def mended(self, annotation: Entry, image: Entry, label_file: str) -> Entry:
        """The annotation, with segments as its pixels say; its PNG is linked or written.

        Raises:
            FileNotFoundError, ValueError: the PNG cannot be read, or has another size than the image.
        """
        ids = read_panoptic_ids(label_file)
        check_label_size(ids, (image["height"], image["width"]), label_file=label_file, image_file=image["file_name"])
        segments, renumbered = self._joined(annotation["segments_info"], image["id"])
        mended_ids = self._with_listed(_renumbered(ids, renumbered), segments, image["id"])
        annotation["segments_info"] = self._as_pixels_say(segments, mended_ids, image["id"])
        name = str(PurePosixPath(image["file_name"]).with_suffix(".png"))
        if (mended_ids != ids).any():
            write_panoptic_ids(mended_ids, self.folder / name)
        else:
            link_or_copy(label_file, self.folder / name)
        annotation["file_name"] = name
        return annotation

    def _joined(self, segments: list[Entry], image_id: Id) -> tuple[list[Entry], dict[int, int]]:
        """The segments, several of one kind of stuff as the first of them, and which id becomes which."""
        kept, renumbered, first = [], {}, {}
        for segment in segments:
            key = (segment["category_id"], segment["iscrowd"])
            if segment["category_id"] in self.stuff and key in first:
                renumbered[segment["id"]] = first[key]
                self._changed(image_id, segment["id"], f"joined with segment {first[key]} of the same stuff")
            else:
                first.setdefault(key, segment["id"])
                kept.append(segment)
        return kept, renumbered

    def _with_listed(self, ids: np.ndarray, segments: list[Entry], image_id: Id) -> np.ndarray:
        """The map, with 0 for pixels of segments that are not listed."""
        unlisted = set(np.unique(ids).tolist()) - {segment["id"] for segment in segments} - {0}
        for number in sorted(unlisted):
            self._changed(image_id, number, "pixels without a segment set to 0 (unlabeled)")
        return _renumbered(ids, dict.fromkeys(unlisted, 0))

    def _as_pixels_say(self, segments: list[Entry], ids: np.ndarray, image_id: Id) -> list[Entry]:
        extents, kept = extents_of(ids), []
        for segment in segments:
            extent = extents.get(segment["id"])
            if extent is None:
                self._changed(image_id, segment["id"], "left out: it has no pixel")
                continue
            if agrees_with_pixels(segment, extent):
                kept.append(segment)
            else:
                said = f"area {segment.get('area')}, bbox {segment.get('bbox')}"
                self._changed(image_id, segment["id"], f"{said} -> area {extent.area}, bbox {extent.bbox}")
                kept.append({**segment, "area": extent.area, "bbox": extent.bbox})
        return kept

    def _changed(self, image_id: Id, number: int, what: str) -> None:
        self.changes.add(self.source, segment_name(image_id, number), what)


def _renumbered(ids: np.ndarray, new: Mapping[int, int]) -> np.ndarray:
    """The map (H, W) with other ids."""
    result = ids.copy() if new else ids
    for number, other in new.items():
        result[ids == number] = other
    return result

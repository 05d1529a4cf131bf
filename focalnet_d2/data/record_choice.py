"""Questions about dataset dicts, and choices among them: of packed ones without making any."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
from detectron2.data.build import print_instances_class_histogram

from .annotations.boxes import NO_AREA
from .packed.columns import CROWD
from .packed.records import PackedRecords

Records = Sequence[dict]

logger = logging.getLogger(__name__)


def kind_of(records: Records) -> str:
    """The kind of truth that dataset dicts hold, of `folders.dataset.KINDS`; "" where they hold none that is known."""
    keys = {"segments_info": "panoptic", "annotations": "instances", "sem_seg_file_name": "semantic"}
    first = next(iter(records), {})
    return next((kind for key, kind in {**keys, "class_id": "classification"}.items() if key in first), "")


def file_names(records: Records) -> list[str]:
    """Path of each image."""
    return records.file_names() if isinstance(records, PackedRecords) else [one["file_name"] for one in records]


def image_ids(records: Records) -> list[int | str]:
    """Id of each image."""
    return records.image_ids() if isinstance(records, PackedRecords) else [one["image_id"] for one in records]


def choose(records: Records, places: Sequence[int]) -> Records:
    """The records at some places, in that order."""
    return records.select(places) if isinstance(records, PackedRecords) else [records[place] for place in places]


def joined(parts: Sequence[Records]) -> Records:
    """The records of several sets, one after the other; a list, unless there is one set."""
    return parts[0] if len(parts) == 1 else list(chain.from_iterable(parts))


def with_paths(records: Records, path_of: Callable[[str], str]) -> Records:
    """With images at other places.

    Args:
        path_of: gives the path of an image by its present one, or of packed records by the name in the file.
    """
    if isinstance(records, PackedRecords):
        return records.with_paths(path_of)
    return [record | {"file_name": path_of(record["file_name"])} for record in records]


def with_found_boxes(records: Records) -> Records:
    """Without the objects whose box holds no pixel of the image."""
    return records.with_found_boxes() if isinstance(records, PackedRecords) else list(map(_with_found_boxes, records))


def _with_found_boxes(record: dict) -> dict:
    if not any(NO_AREA in annotation for annotation in record["annotations"]):
        return record
    return record | {"annotations": [annotation for annotation in record["annotations"] if NO_AREA not in annotation]}


def places_with_targets(records: Records) -> list[int]:
    """Where images have an annotation or a segment that is not a crowd, or nothing but a label map."""
    if isinstance(records, PackedRecords):
        return np.flatnonzero(records.have_targets()).tolist()
    return [place for place, record in enumerate(records) if _has_targets(record)]


def _has_targets(record: dict) -> bool:
    for key in ("annotations", "segments_info"):
        if key in record:
            return any(not target.get("iscrowd", 0) for target in record[key])
    return True


def first_annotated(records: Records) -> dict | None:
    """The first record with an annotation or a segment."""
    if isinstance(records, PackedRecords):
        return _first(records, records.annotation_counts() > 0)
    return next((one for one in records if one.get("annotations") or one.get("segments_info")), None)


def first_without_mask(records: Records) -> dict | None:
    """The first record with an annotation that has no mask."""
    if isinstance(records, PackedRecords):
        return _first(records, records.lack_masks())
    return next((one for one in records if not all(map(_has_mask, one.get("annotations", ())))), None)


def _has_mask(annotation: dict) -> bool:
    return bool(annotation.get("segmentation"))


def _first(records: PackedRecords, wanted: np.ndarray) -> dict | None:
    return records[int(wanted.argmax())] if wanted.any() else None


def object_counts(records: Records) -> np.ndarray:
    """(N, 2) int64: how many targets each image has, and how many of them are things; crowds are neither."""
    if isinstance(records, PackedRecords):
        return np.repeat(records.annotation_counts(without_flags=CROWD)[:, None], 2, axis=1)
    return np.array([_object_counts(record) for record in records], np.int64).reshape(-1, 2)


def _object_counts(record: dict) -> tuple[int, int]:
    targets = [one for one in record.get("segments_info", record.get("annotations", ())) if not one.get("iscrowd", 0)]
    return len(targets), sum(bool(one.get("isthing", True)) for one in targets)


def print_class_histogram(records: Records, class_names: Sequence[str], source: str) -> None:
    """Detectron2's table of how many objects each class has, where all records have annotations.

    Args:
        source: names of the data sets, which the log says first.
    """
    if isinstance(records, PackedRecords):
        counts = records.class_counts(len(class_names))
        one_of_each = [{"category_id": index} for index in range(len(counts))]
        records = [{"annotations": list(chain.from_iterable(map(repeat, one_of_each, counts)))}]
    if all("annotations" in record for record in records):
        logger.info("The objects of %s:", source)
        print_instances_class_histogram(records, class_names)


def record_summary(records: Records, class_names: Sequence[str] | None) -> dict[str, Any]:
    """How many images there are and, where the records say it, how many objects and how many of each class.

    Args:
        class_names: by contiguous id; None where they are not known.
    """
    summary: dict[str, Any] = {"images": len(records)}
    counts = _class_counts(records, len(class_names or ()))
    if counts is not None:
        summary["objects"] = sum(counts.values())
        summary["classes"] = {
            class_names[index] if class_names and index < len(class_names) else str(index): counts[index]
            for index in sorted({*counts, *range(len(class_names or ()))})
        }
    return summary


def _class_counts(records: Records, classes: int) -> Counter[int] | None:
    """Objects without crowds of each class, of a classification set its images; None where records do not say."""
    if isinstance(records, PackedRecords):
        return Counter(dict(enumerate(records.class_counts(classes))))
    kind = kind_of(records)
    if kind not in ("instances", "panoptic", "classification"):
        return None
    key = "segments_info" if kind == "panoptic" else "annotations"
    targets = records if kind == "classification" else chain.from_iterable(record.get(key, ()) for record in records)
    name = "class_id" if kind == "classification" else "category_id"
    return Counter(target[name] for target in targets if not target.get("iscrowd", 0))

"""The cheap part of check-data, at the start of every training and evaluation: image files against their annotations
and label files.

Only the heads of files are read, of very many images some, so that nobody waits for it.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..annotations.faults import Fault, strict
from ..image_reading import read_orientation_and_size
from ..label_maps import label_size_problem
from ..named_files import THREADS
from ..panoptic_labels import read_label_size
from .images import Said, size_fault

_LABEL_FILES = ("sem_seg_file_name", "pan_seg_file_name")
MOST_FILES = 4000  # whose heads are read, evenly spread over the images


def check_start(records: Sequence[Mapping[str, Any]], source: str) -> None:
    """Whether the images of a data set have the sizes that its annotations say and its label files have, and can be
    opened at all.

    Args:
        records: dataset dicts; those without `height` and `width` or a label file are not looked at.
        source: what the annotations are called, for the message.

    Raises:
        FileNotFoundError, ValueError: an image or label file is missing, no image, or has another size, EXIF turns of
            images considered.
    """
    step = -(-len(records) // MOST_FILES) or 1
    chosen = map(records.__getitem__, range(0, len(records), step))
    looked_at = [record for record in chosen if {"height", "width"} <= record.keys() or _label_files(record)]
    with ThreadPoolExecutor(THREADS) as pool:
        faults = [fault for fault in pool.map(lambda record: _fault(record, source), looked_at) if fault]
    if faults:
        more = f" (so have {len(faults)} of {len(looked_at)} images that were looked at)" if len(faults) > 1 else ""
        strict(Fault(faults[0].kind, "error", faults[0].file, f"{faults[0].message.removesuffix('.')}{more}."))


def _fault(record: Mapping[str, Any], source: str) -> Fault | None:
    orientation, size = read_orientation_and_size(record["file_name"])
    file_name, image_id = record["file_name"], record.get("image_id", record["file_name"])
    if {"height", "width"} <= record.keys():
        said = Said(source, repr(image_id), (record["height"], record["width"]))
        if fault := size_fault(file_name, said, size, orientation):
            return fault
    for label_file in _label_files(record):
        problem = label_size_problem(read_label_size(label_file), size, label_file=label_file, image_file=file_name)
        if problem:
            return Fault("label-size", "error", label_file, problem, (str(image_id),))
    return None


def _label_files(record: Mapping[str, Any]) -> list[str]:
    return [str(record[key]) for key in _LABEL_FILES if key in record]

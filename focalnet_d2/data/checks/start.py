"""The cheap part of check-data, at the start of every training and evaluation: image files against their annotations.

Only the heads of files are read, of very many images some, so that nobody waits for it.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..annotations.faults import Fault, strict
from ..annotations.files import THREADS
from ..image_reading import read_orientation_and_size
from .images import Said, size_fault

MOST_FILES = 4000  # whose heads are read, evenly spread over the images


def check_start(records: Sequence[Mapping[str, Any]], source: str) -> None:
    """Whether the images of a data set have the sizes that its annotations say, and can be opened at all.

    Args:
        records: dataset dicts; those without `height` and `width` are not looked at.
        source: what the annotations are called, for the message.

    Raises:
        FileNotFoundError, ValueError: an image is missing, no image, or has another size, EXIF turns considered.
    """
    step = -(-len(records) // MOST_FILES) or 1
    chosen = map(records.__getitem__, range(0, len(records), step))
    looked_at = [record for record in chosen if "height" in record and "width" in record]
    with ThreadPoolExecutor(THREADS) as pool:
        faults = [fault for fault in pool.map(lambda record: _fault(record, source), looked_at) if fault]
    if faults:
        more = f" (so have {len(faults)} of {len(looked_at)} images that were looked at)" if len(faults) > 1 else ""
        strict(Fault(faults[0].kind, "error", faults[0].file, f"{faults[0].message.removesuffix('.')}{more}."))


def _fault(record: Mapping[str, Any], source: str) -> Fault | None:
    orientation, size = read_orientation_and_size(record["file_name"])
    said = Said(source, repr(record.get("image_id", record["file_name"])), (record["height"], record["width"]))
    return size_fault(record["file_name"], said, size, orientation)

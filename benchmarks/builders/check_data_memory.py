"""What `check-data` keeps of each image: its peak memory with few and with many of them.

The images have 8 x 8 pixels and one object each, or two classes of pixels, so that no image is more than what is kept
of it. Each check runs in a process of its own, which does all of the work, and only what it takes beyond its libraries
counts.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.builders.check_data import Silent
from benchmarks.measuring import in_new_process, peak_memory, restart_peak_memory
from benchmarks.work import Facts
from focalnet_d2.data.checks.run import check_datasets
from focalnet_d2.data.checks.tasks import RecipeLimits
from focalnet_d2.data.folders.finding import find_datasets
from focalnet_d2.reports.data_page import write_data_page
from tests.data.checks.many_images import WRITERS

SHARE = 10  # times as many images as the few


def build(layouts: Sequence[str], images: int) -> Facts:
    """The check of some layouts, of the keys of `WRITERS`."""
    return Facts(lambda: (measure(layout, images) for layout in layouts))


def measure(layout: str, images: int) -> dict[str, Any]:
    """The row of a layout: bytes of both checks, and what each further image adds."""
    counts, found = (images // SHARE, images), []
    with tempfile.TemporaryDirectory(prefix="check_data_memory_") as folder:
        for count in counts:
            root = Path(folder, str(count))
            WRITERS[layout](root, count)
            found.append(in_new_process(check, str(root))["bytes"])
    added = round((found[1] - found[0]) / (counts[1] - counts[0]))
    return {"case": f"check-data, {layout}", "images": counts, "bytes": found, "bytes_an_image": added}


def check(root: str) -> dict[str, int]:
    """Bytes that finding a data set, checking it and writing the page takes at most, in this process."""
    restart_peak_memory()
    before = peak_memory()
    found = find_datasets(root)
    findings = check_datasets(root, found, limits=RecipeLimits(), workers=1, progress=Silent())
    assert findings.is_clean, findings.faults[:3]
    write_data_page(findings, Path(root, "check.html"))
    return {"bytes": peak_memory() - before}

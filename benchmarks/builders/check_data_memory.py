"""What `check-data` keeps of each image: its memory with few and with four times as many of them.

The images have 8 x 8 pixels and one object each, or two classes of pixels, so that no image is more than what is kept
of it. Each check runs in a process of its own, which does all of the work and has checked a small set before. What
counts is the memory of no file (Linux's RssAnon) beyond that, looked at after every chunk of images. The few are enough
to fill what has a limit: caches of tables, and what is sorted at once.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import anonymous_memory, in_new_process
from benchmarks.work import Facts
from focalnet_d2.data.checks.run import check_datasets
from focalnet_d2.data.checks.tasks import RecipeLimits
from focalnet_d2.data.folders.finding import find_datasets
from focalnet_d2.reports.data_page import write_data_page
from tests.data.checks.many_images import WRITERS

SHARE = 4  # times as many images as the few
_BEFORE = 400  # images of the small set


def build(layouts: Sequence[str], images: int) -> Facts:
    """The check of some layouts, of the keys of `WRITERS`."""
    return Facts(lambda: (measure(layout, images) for layout in layouts))


def measure(layout: str, images: int) -> dict[str, Any]:
    """The row of a layout: bytes of both checks, and what each further image adds."""
    counts, found = (images // SHARE, images), []
    with tempfile.TemporaryDirectory(prefix="check_data_memory_") as folder:
        small = Path(folder, "small")
        WRITERS[layout](small, min(_BEFORE, images))
        for count in counts:
            root = Path(folder, str(count))
            WRITERS[layout](root, count)
            found.append(in_new_process(check, str(root), str(small))["bytes"])
    added = round((found[1] - found[0]) / (counts[1] - counts[0]))
    return {"case": f"check-data, {layout}", "images": counts, "bytes": found, "bytes_an_image": added}


class _Watcher:
    """Looks at the memory whenever some images are done."""

    def __init__(self) -> None:
        self.most = 0  # bytes

    def begin(self, what: str, images: int) -> None:
        """A part begins."""
        self.look()

    def advance(self, images: int) -> None:
        """Some images are done."""
        self.look()

    def look(self) -> None:
        """Looks at the memory."""
        self.most = max(self.most, anonymous_memory())


def check(root: str, small: str) -> dict[str, int]:
    """Bytes that finding a data set, checking it and writing the page takes at most, after the same of a small set."""
    _check(small)
    before = anonymous_memory()
    return {"bytes": _check(root) - before}


def _check(root: str) -> int:
    """Bytes that this process has had at most."""
    watcher = _Watcher()
    found = find_datasets(root)
    watcher.look()
    findings = check_datasets(root, found, limits=RecipeLimits(), workers=1, progress=watcher)
    assert findings.is_clean, findings.faults[:3]
    write_data_page(findings, Path(root, "check.html"))
    watcher.look()
    return watcher.most

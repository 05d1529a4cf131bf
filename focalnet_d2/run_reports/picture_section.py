"""The pictures that a training has left: its first batch, and test images at its last evaluation."""

import base64
from pathlib import Path

from focalnet_d2.engine.pictures import FIRST_BATCH, SAMPLES
from focalnet_d2.reports.page import figure

from .run_files import RunFiles


def pictures(run: RunFiles) -> str:
    """Both sheets, as far as they are there; "" without any.

    Raises:
        OSError: a file cannot be read.
    """
    first, samples = run.folder / FIRST_BATCH, sorted((run.folder / SAMPLES).glob("*.jpg"))
    titles = {
        "The first batch of the last start, after augmentation": [first] if first.is_file() else [],
        "Test images at the last evaluation, beside their truth": samples[-1:],
    }
    return "".join(figure(title, _sheet(path)) for title, paths in titles.items() for path in paths)


def _sheet(path: Path) -> str:
    """The picture at its size, or as wide as the page, which scrolls it where it is narrow."""
    content = base64.b64encode(path.read_bytes()).decode()
    shown = f"<img alt='' style='display:block;max-width:max(100%,900px)' src='data:image/jpeg;base64,{content}'>"
    return f"<div class=scroll style='max-height:none'>{shown}</div>"

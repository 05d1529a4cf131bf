"""The page of one run."""

import logging
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

from focalnet_d2.engine.run_folder import REPORT
from focalnet_d2.reports.page import html_page
from focalnet_d2.reports.page_style import RUN_SCRIPT, RUN_STYLE
from focalnet_d2.utils.atomic_write import write_atomically

from . import overview
from .detection_section import detection_sections
from .run_files import RunFiles, read_run
from .scored_data import scored_data

logger = logging.getLogger(__name__)


def write_run_page(folder: str | Path, path: str | Path | None = None) -> Path:
    """Write the report of a run.

    Args:
        folder: of the run, which may still go on.
        path: of the page; by default `report.html` in the folder.

    Raises:
        FileNotFoundError: the folder holds nothing of a run.
        OSError: the page cannot be written.
    """
    path = Path(folder) / REPORT if path is None else Path(path)
    write_atomically(path, run_page(read_run(folder)))
    return path


def run_page(run: RunFiles) -> str:
    """The report as text."""
    sections = list(_sections(run))
    links = "".join(f"<a href='#{anchor(title)}'>{escape(title)}</a>" for title, _ in sections)
    parts = "".join(
        f"<section><h2 id='{anchor(title)}'>{escape(title)}</h2>{body}</section>" for title, body in sections
    )
    body = f"{overview.head(run)}<nav>{links}</nav>{parts}"
    return html_page(f"{run.name}: report", body, script=RUN_SCRIPT, style=RUN_STYLE)


def anchor(title: str) -> str:
    """The name of a section in links."""
    return title.lower().replace(" ", "-")


def _sections(run: RunFiles) -> Iterator[tuple[str, str]]:
    yield from _made(run, {"Curves": overview.curves, "Results": overview.results, "Classes": overview.class_results})
    yield from _analyses(run)
    yield from _made(run, {"Settings": overview.settings, "Data": overview.data, "Environment": overview.environment})


def _made(run: RunFiles, makers: dict[str, Callable[[RunFiles], str]]) -> Iterator[tuple[str, str]]:
    for title, make in makers.items():
        try:
            body = make(run)
        except Exception as error:  # of many kinds, where files are damaged; the rest of the page is still of use
            body = _failure(title, error)
        if body:
            yield title, body


def _analyses(run: RunFiles) -> Iterator[tuple[str, str]]:
    """What the predictions of the last evaluation show against the truth, as far as both are there."""
    if not run.results:
        return
    try:
        with scored_data(run) as data:
            yield from detection_sections(run, data)
    except Exception as error:  # as above, and data that are no longer where they were
        yield "Errors", _failure("Errors", error)


def _failure(title: str, error: Exception) -> str:
    logger.debug("The section %s", title, exc_info=error)
    return f"<p class=note>This section cannot be made: {escape(str(error) or type(error).__name__)}</p>"

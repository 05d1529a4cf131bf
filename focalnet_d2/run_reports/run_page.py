"""The page of one run."""

import logging
from collections.abc import Iterator
from pathlib import Path

from focalnet_d2.engine.run_folder import REPORT
from focalnet_d2.reports.page import html_page
from focalnet_d2.reports.page_style import RUN_SCRIPT, RUN_STYLE
from focalnet_d2.utils.atomic_write import write_atomically

from . import overview
from .classification_section import classes, classified_images
from .detection_section import detection_sections
from .page_frame import Section, failure, made, with_sections
from .panoptic_section import panoptic_images, segments
from .picture_section import pictures
from .run_files import RunFiles, read_run
from .scored_data import scored_data
from .semantic_section import pixels, semantic_images

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
    run = read_run(folder)
    path = run.folder / REPORT if path is None else Path(path)
    write_atomically(path, run_page(run))
    return path


def report_finished_run(folder: Path) -> None:
    """Write the report at the end of a training, which ends well also without one."""
    try:
        logger.info("The report is %s.", write_run_page(folder))
    except Exception as error:  # of any kind: the run is complete, and the command writes the page later
        logger.warning("No report was written (%s): try `focalnet-d2 report %s`.", error, folder)


def run_page(run: RunFiles) -> str:
    """The report as text."""
    body = with_sections(overview.head(run), list(_sections(run)))
    return html_page(f"{run.name}: report", body, script=RUN_SCRIPT, style=RUN_STYLE)


def _sections(run: RunFiles) -> Iterator[Section]:
    yield from made(
        {
            "Curves": lambda: overview.curves(run),
            "Results": lambda: overview.results(run),
            "Classes": lambda: overview.class_results(run),
            "Segments": lambda: segments(run),
            "Pixels": lambda: pixels(run),
            "Confusions": lambda: classes(run),
            "Classified images": lambda: classified_images(run),
            "Pictures": lambda: pictures(run),
        }
    )
    yield from _analyses(run)
    yield from made(
        {
            "Settings": lambda: overview.settings(run),
            "Data": lambda: overview.data(run),
            "Environment": lambda: overview.environment(run),
        }
    )


def _analyses(run: RunFiles) -> Iterator[Section]:
    """What the predictions of the last evaluation show against the truth, as far as both are there."""
    if not run.results:
        return
    try:
        with scored_data(run) as data:
            for sections in (detection_sections, panoptic_images, semantic_images):
                yield from sections(run, data)
    except Exception as error:  # of many kinds: data that are no longer where they were, damaged files
        yield "Errors", failure("Errors", error)

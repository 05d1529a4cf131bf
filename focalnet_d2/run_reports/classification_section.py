"""Which classes a classifier takes for which, how sure it is, and its most telling images."""

from functools import partial
from html import escape
from typing import Any

import numpy as np

from focalnet_d2.evaluation.classification import CONFUSION, COUNTS, TASK
from focalnet_d2.reports.label_pictures import draw_image
from focalnet_d2.reports.page import number_cell, table, text_cell

from .calibration import calibration_figures
from .example_files import example_groups
from .example_pictures import Example, example_sheets
from .matrices import confusion_table, top_confusions
from .run_files import RunFiles

MOST_CLASSES = 2000  # of which the matrix is made


def classes(run: RunFiles) -> str:
    """Confusions, calibration and a table of the classes; "" where there is no evaluation of a classifier."""
    if (content := run.written(CONFUSION)) is None:
        return ""
    names, (images, sums, right) = content["classes"], np.array(content["bins"], float).T
    bins = np.stack([sums / np.maximum(images, 1), right / np.maximum(images, 1), images], axis=1)
    shown = f"<div class=charts>{calibration_figures(bins, what='images', score='probability')}</div>"
    if len(names) > MOST_CLASSES:
        return shown
    counts = np.zeros((len(names), len(names)), np.int64)
    for true, predicted, count in content["pairs"]:
        counts[true, predicted] = count
    pairs = [
        (text_cell(true), text_cell(other), number_cell(count)) for true, other, count in top_confusions(counts, names)
    ]
    confused = table(("true class", "taken for", "images"), pairs) if pairs else "<p class=note>None.</p>"
    matrix = confusion_table(counts, names, rest_columns={}, rest_rows={})
    return (
        f"{shown}<h3>Confused classes</h3>{matrix}<div class=columns>"
        f"<div><h3>Most frequent confusions</h3>{confused}</div><div><h3>Accuracy</h3>{_accuracy(run)}</div></div>"
    )


def _accuracy(run: RunFiles) -> str:
    if (content := run.written(COUNTS)) is None:
        return ""
    rows = [
        (
            text_cell(name),
            number_cell(images),
            *(number_cell(100 * right / images if images else None) for right in rights),
        )
        for name, (images, *rights) in zip(content["classes"], content["counts"])
    ]
    return table(("class", "images", *(f"{name}, %" for name in content["columns"][1:])), rows, is_sorted=True)


def classified_images(run: RunFiles) -> str:
    """The images with the surest wrong and the surest right class."""
    if (content := run.written(CONFUSION)) is None:
        return ""
    groups = example_groups(run, TASK, partial(_example, content["classes"]))
    note = "The wrong ones of which it is most sure, or of all right ones the least sure, and the surest right ones."
    return f"<p class=note>{escape(note)}</p>{example_sheets(groups)}" if groups else ""


def _example(names: list[str], entry: dict[str, Any]) -> Example:
    best = ", ".join(f"{names[index]} {100 * probability:.0f} %" for index, probability in entry["best"])
    words = f"is {names[entry['class']]}, predicted {best}"
    return Example(entry["file_name"], words, {"": partial(draw_image, entry["file_name"])})

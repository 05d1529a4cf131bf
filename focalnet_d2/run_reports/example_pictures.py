"""Images of a run, each as its truth beside its prediction."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from focalnet_d2.data.checks.tasks import LabelTask
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.reports.picture_cells import picture_and_legend


class ExamplePair(NamedTuple):
    """An image file, what is said about it, and its labels as annotated and as predicted."""

    file_name: str
    words: str
    truth: LabelTask
    prediction: LabelTask


def example_sheet(title: str, pairs: Sequence[ExamplePair], classes: ClassMap) -> str:
    """All pairs below a title."""
    return f"<h3>{escape(title)}</h3><div class='sheet pairs'>{''.join(_figure(pair, classes) for pair in pairs)}</div>"


def _figure(pair: ExamplePair, classes: ClassMap) -> str:
    halves = []
    for name, task in (("truth", pair.truth), ("prediction", pair.prediction)):
        shown, legend = picture_and_legend(task, classes)
        halves.append(f"<div><small>{name}</small>{shown}<small>{legend}</small></div>")
    caption = f"<b>{escape(Path(pair.file_name).name)}</b> {escape(pair.words)}"
    return f"<figure><div class=pair>{''.join(halves)}</div><figcaption>{caption}</figcaption></figure>"

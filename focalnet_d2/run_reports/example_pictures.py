"""Images of a run, each as its truth beside its prediction."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from focalnet_d2.reports.label_pictures import LabelPicture
from focalnet_d2.reports.picture_cells import picture_and_legend


class Example(NamedTuple):
    """An image file, what is said about it, and what draws its pictures, by their names."""

    file_name: str
    words: str
    pictures: Mapping[str, Callable[[], LabelPicture]]


def example_sheets(groups: Mapping[str, Sequence[Example]]) -> str:
    """All examples of each group below its title."""
    return "".join(
        f"<h3>{escape(title)}</h3><div class='{_layout(examples)}'>{''.join(map(_figure, examples))}</div>"
        for title, examples in groups.items()
        if examples
    )


def _layout(examples: Sequence[Example]) -> str:
    return "sheet pairs" if len(examples[0].pictures) > 1 else "sheet"


def _figure(example: Example) -> str:
    parts = []
    for name, draw in example.pictures.items():
        shown, legend = picture_and_legend(draw)
        parts.append(f"<div><small>{escape(name)}</small>{shown}<small>{legend}</small></div>")
    caption = f"<b>{escape(Path(example.file_name).name)}</b> {escape(example.words)}"
    kind = "pair" if len(parts) > 1 else "alone"
    return f"<figure><div class={kind}>{''.join(parts)}</div><figcaption>{caption}</figcaption></figure>"

"""The page `check.html` of a checked data set: one file that opens without a network.

All text that comes from files is escaped, and the page forbids everything but its own styles and its one small script,
which sorts the table of faults.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from focalnet_d2.data.annotations.faults import Fault
from focalnet_d2.data.checks.report import Findings, Reading
from focalnet_d2.data.checks.statistics import MANY, PartStatistics, middle
from focalnet_d2.data.checks.tasks import LabelTask
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.utils.atomic_write import write_atomically

from .charts import bar_chart, bubble_chart, color_of
from .label_pictures import draw_labels
from .page import figure, html_page, tiles
from .page_style import SCRIPT
from .picture_cells import color_chip, picture_and_legend

_OBJECTS = (0, 1, 2, 3, 4, 5, 10, 20, 50, 100, 200, 500, MANY)  # from each of them up to the next


def write_data_page(findings: Findings, path: str | Path) -> Path:
    """Writes the page; returns its path.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    write_atomically(path, data_page(findings))
    return path


def data_page(findings: Findings) -> str:
    """The page as text."""
    name = Path(findings.root).name or findings.root
    body = [
        f"<h1>{escape(name)}</h1><p class=path>{escape(findings.root)}</p>",
        _summary(findings),
        _fault_table(findings),
        *(part for reading in findings.readings for part in _reading(reading)),
    ]
    return html_page(f"{name}: check of the data", "".join(body), script=SCRIPT)


def _summary(findings: Findings) -> str:
    counts = findings.counts()
    shown = [(f"{count:,}", f"{severity}s", severity if count else "") for severity, count in counts.items()]
    images = sum(numbers.images for reading in findings.readings[:1] for numbers in reading.parts.values())
    return f"{tiles([*shown, (f'{images:,}', 'images', 'images')])}<p class=verdict>{_verdict(counts)}</p>"


def _verdict(counts: Mapping[str, int]) -> str:
    """What the faults mean, and what to do, in a sentence or two."""
    mended = "; <code>focalnet-d2 check-data DIR --fix OUT</code> writes a copy in which all that can be mended is."
    if counts["error"]:
        return f"<b>A training stops at the errors.</b> Do what their rows say, the first ones first{mended}"
    if counts["warning"]:
        return f"<b>A training runs, but what it learns or scores suffers.</b> Look at the warnings{mended}"
    if counts["note"]:
        return "<b>The data can be used.</b> The notes are worth knowing, and ask for nothing."
    return "<b>Nothing is wrong.</b>"


def _fault_table(findings: Findings) -> str:
    if not findings.faults:
        return ""
    heads = "".join(
        f"<th><button>{name}</button></th>" for name in ("severity", "kind", "entries", "what, and what to do")
    )
    rows = "".join(map(_fault_row, findings.faults))
    more = "".join(f" {count:,} of {escape(kind)}" for kind, count in sorted(findings.left_out.items()))
    note = f"<p>Not listed, to keep the page short:{more}.</p>" if more else ""
    table = f"<table id=faults><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<h2>Faults</h2><div class=scroll>{table}</div>{note}"


def _fault_row(fault: Fault) -> str:
    ids = f"<p class=ids>{escape(', '.join(fault.ids))}</p>" if fault.ids else ""
    return (
        f"<tr class={fault.severity}><td><span class=badge>{fault.severity}</span></td><td>{escape(fault.kind)}</td>"
        f"<td class=number>{fault.count}</td><td>{escape(fault.message)}{ids}</td></tr>"
    )


def _reading(reading: Reading) -> Iterator[str]:
    dataset = reading.dataset
    yield f"<h2>{escape(dataset.kind)} <small>{escape(dataset.layout)}: {escape(dataset.reason)}</small></h2>"
    yield _legend(reading.parts)
    yield f"<div class=charts>{''.join(_charts(reading))}</div>"
    yield _classes(reading)
    yield _sheet("Images with faults", reading.faulty, dataset.classes)
    yield _sheet("Samples", reading.samples, dataset.classes)


def _legend(parts: Mapping[str, PartStatistics]) -> str:
    """Numbers of each part beside its color."""
    items = []
    for name, numbers in parts.items():
        formats = ", ".join(f"{count:,} {kind}" for kind, count in numbers.formats.most_common())
        objects = sum(numbers.object_sizes.values())
        texts = [f"{numbers.images:,} images", f"{objects:,} objects" if objects else "", formats]
        texts.append(f"{numbers.unlabelled:,} without labels" if numbers.unlabelled else "")
        chip = f"<i style='background:{color_of(name)}'></i>"
        items.append(f"<li>{chip}<b>{escape(name)}</b> {escape('; '.join(filter(None, texts)))}</li>")
    return f"<ul class=legend>{''.join(items)}</ul>"


def _charts(reading: Reading) -> Iterator[str]:
    parts = reading.parts
    for name, numbers in parts.items():
        points = {(middle(width), middle(height)): count for (width, height), count in numbers.sizes.items()}
        chart = bubble_chart(points, color=color_of(name), x_title="width, pixels", y_title="height, pixels")
        yield figure(f"Image sizes of {name}", chart)
    aspects = {name: numbers.aspects for name, numbers in parts.items()}
    yield figure("Width / height", _binned(aspects, x_title="width / height", y_title="images"))
    if any(numbers.object_sizes for numbers in parts.values()):
        yield figure("Objects an image", _objects({name: numbers.objects for name, numbers in parts.items()}))
        sizes = {name: numbers.object_sizes for name, numbers in parts.items()}
        yield figure(
            "Object sizes", _binned(sizes, x_title="side of a square of their size, pixels", y_title="objects")
        )


def _binned(series: Mapping[str, Counter], *, x_title: str, y_title: str) -> str:
    """A chart of counters over bins of `octave`."""
    bins = [key for counter in series.values() for key in counter]
    places = range(min(bins, default=0), max(bins, default=0) + 1)
    labels = [f"{middle(place):.0f}" if middle(place) >= 10 else f"{middle(place):.2g}" for place in places]
    values = {name: [counter[place] for place in places] for name, counter in series.items()}
    return bar_chart(labels, values, x_title=x_title, y_title=y_title)


def _objects(series: Mapping[str, Counter]) -> str:
    most = max((number for counter in series.values() for number in counter), default=0)
    starts = [start for start in _OBJECTS if start <= most]
    ends = [*_OBJECTS[1:], MANY + 1][: len(starts)]
    labels = [f"{start}" if end == start + 1 else f"{start}-{end - 1}" for start, end in zip(starts, ends)]
    values = {
        name: [sum(counter[n] for n in counter if start <= n < end) for start, end in zip(starts, ends)]
        for name, counter in series.items()
    }
    return bar_chart(labels, values, x_title="objects", y_title="images")


def _classes(reading: Reading) -> str:
    """A row for each class with a bar for each part, the most frequent first."""
    by_part = {name: numbers.of_classes(reading.dataset.classes) for name, numbers in reading.parts.items()}
    highest = {name: max(counts.values(), default=0) or 1 for name, counts in by_part.items()}
    entries = sorted(reading.dataset.classes.classes, key=lambda one: -sum(c[one.name] for c in by_part.values()))
    rows = []
    for one in entries:
        bars = "".join(
            f"<div><span class=bar style='width:{100 * counts[one.name] / highest[name]:.1f}%;"
            f"background:{color_of(name)}'></span><span>{counts[one.name]:,}</span></div>"
            for name, counts in by_part.items()
        )
        kind = "" if one.is_thing or reading.dataset.kind == "semantic" else " (stuff)"
        rows.append(
            f"<tr><td>{color_chip(one)}{escape(one.name)}{kind} "
            f"<small>id {escape(str(one.dataset_id))}</small></td><td class=bars>{bars}</td></tr>"
        )
    unit = "pixels" if reading.dataset.kind == "semantic" else "objects"
    table = f"<div class='scroll classes'><table>{''.join(rows)}</table></div>"
    return f"<h3>Classes <small>{unit} of each part</small></h3>{table}"


def _sheet(title: str, pictures: Sequence[tuple[str, LabelTask]], classes: ClassMap) -> str:
    cells = "".join(_picture(caption, task, classes) for caption, task in pictures)
    return f"<h3>{title}</h3><div class=sheet>{cells}</div>" if cells else ""


def _picture(caption: str, task: LabelTask, classes: ClassMap) -> str:
    """An image with its labels, or a word about why it cannot be shown."""
    shown, legend = picture_and_legend(lambda: draw_labels(task, classes))
    name = escape(Path(task.image_file).name)
    return f"<figure>{shown}<figcaption><b>{escape(caption)}</b> {name}<br>{legend}</figcaption></figure>"

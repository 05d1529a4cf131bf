"""Charts as SVG that stands in a page, without a library: bars side by side, and bubbles over two lengths."""

import math
from collections.abc import Mapping, Sequence
from html import escape

PART_COLORS = {"train": "#2563eb", "val": "#ea580c", "test": "#16a34a"}
WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 12, 42
_TICKS = 4
_LARGEST_RADIUS, _SMALLEST_RADIUS = 13.0, 2.0


def bar_chart(labels: Sequence[str], series: Mapping[str, Sequence[int]], *, x_title: str, y_title: str) -> str:
    """Bars of several series beside each other.

    Args:
        labels: of the places on the horizontal axis; of many, some are written.
        series: by the name of a part, a number for each place.
    """
    highest = max((value for values in series.values() for value in values), default=0) or 1
    place = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    width = 0.86 * place / max(1, len(series))
    shapes = [_axis(highest)]
    for row, (name, values) in enumerate(series.items()):
        for index, value in enumerate(values):
            height = (HEIGHT - TOP - BOTTOM) * value / highest
            x, y = LEFT + index * place + 0.07 * place + row * width, HEIGHT - BOTTOM - height
            title = f"{name}, {labels[index]}: {value}"
            shapes.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{color_of(name)}">'
                f"<title>{escape(title)}</title></rect>"
            )
    every = max(1, math.ceil(len(labels) * max(map(len, labels), default=1) / 42))
    shapes += [
        svg_text(LEFT + (index + 0.5) * place, HEIGHT - BOTTOM + 14, label)
        for index, label in enumerate(labels)
        if index % every == 0
    ]
    return svg_chart(shapes, x_title, y_title)


def bubble_chart(points: Mapping[tuple[float, float], int], *, color: str, x_title: str, y_title: str) -> str:
    """Bubbles over two lengths on scales of doublings, each as large as its count."""
    if not points:
        return svg_chart([], x_title, y_title)
    low = math.floor(math.log2(min(min(point) for point in points)))
    high = max(low + 1, math.ceil(math.log2(max(max(point) for point in points))))
    most = max(points.values())

    def x_of(length: float) -> float:
        return LEFT + 14 + (WIDTH - LEFT - RIGHT - 28) * (math.log2(length) - low) / (high - low)

    def y_of(length: float) -> float:
        return HEIGHT - BOTTOM - 14 - (HEIGHT - TOP - BOTTOM - 28) * (math.log2(length) - low) / (high - low)

    shapes = []
    for power in range(low, high + 1):
        shapes.append(svg_line(x_of(2**power), TOP, x_of(2**power), HEIGHT - BOTTOM))
        shapes.append(svg_line(LEFT, y_of(2**power), WIDTH - RIGHT, y_of(2**power)))
        shapes.append(svg_text(x_of(2**power), HEIGHT - BOTTOM + 14, f"{2**power:g}"))
        shapes.append(svg_text(LEFT - 5, y_of(2**power) + 4, f"{2**power:g}", "end"))
    for (width, height), count in sorted(points.items(), key=lambda point: -point[1]):
        radius = max(_SMALLEST_RADIUS, _LARGEST_RADIUS * math.sqrt(count / most))
        shapes.append(
            f'<circle cx="{x_of(width):.1f}" cy="{y_of(height):.1f}" r="{radius:.1f}" fill="{color}" '
            f'fill-opacity="0.55"><title>about {width:.0f} x {height:.0f}: {count}</title></circle>'
        )
    return svg_chart(shapes, x_title, y_title)


def color_of(part: str) -> str:
    """The color of a part in all charts."""
    return PART_COLORS.get(part, "#64748b")


def _axis(highest: int) -> str:
    size = 10 ** math.floor(math.log10(highest / _TICKS)) if highest > _TICKS else 1
    step = next(step * size for step in (1, 2, 5, 10) if step * size * _TICKS >= highest)
    lines = []
    for value in range(0, highest + 1, step):
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / highest
        lines += [svg_line(LEFT, y, WIDTH - RIGHT, y), svg_text(LEFT - 5, y + 4, f"{value}", "end")]
    return "".join(lines)


def svg_line(x: float, y: float, to_x: float, to_y: float) -> str:
    """A straight line of the grid."""
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"/>'


def svg_text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    """Plain text at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def svg_chart(shapes: Sequence[str], x_title: str, y_title: str, *, kind: str = "", data: str = "") -> str:
    """Shapes with both titles; colors of lines and texts are the page's.

    Args:
        kind: a further class of the style; data: further attributes, which begin with a blank.
    """
    titles = [
        svg_text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 8, x_title),
        f'<text x="11" y="{(HEIGHT - BOTTOM) / 2 + 6}" text-anchor="middle" '
        f'transform="rotate(-90 11 {(HEIGHT - BOTTOM) / 2 + 6})">{escape(y_title)}</text>',
    ]
    return (
        f'<svg class="{" ".join(("chart", kind)).strip()}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"{data}>'
        f"{''.join(shapes)}{''.join(titles)}</svg>"
    )

"""Lines over numbers, as SVG: losses over iterations, precision over recall. The page's script reads their values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.ticker import Locator, LogLocator, MaxNLocator

from .charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, svg_chart, svg_line, svg_text

PALETTE = ("#2563eb", "#ea580c", "#16a34a", "#a855f7", "#db2777", "#0891b2", "#ca8a04", "#dc2626", "#65a30d", "#64748b")
MOST_POINTS = 240  # of a line; of more, the highest and the lowest of every stretch are drawn
_TICKS = 5


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: in the legend.
        points: (x, y) with rising x; those that are not finite are left out.
        color: of CSS; dashed: another form of the line of the same color.
    """

    name: str
    points: Sequence[tuple[float, float]]
    color: str
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """Numbers from `low` to `high` on `start` to `end` of the picture, perhaps on a scale of factors of ten."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where a number is drawn."""
        low, high, value = (
            (math.log10(x) for x in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round numbers within."""
        if self.log and len(found := self._within(LogLocator(subs=(1, 2, 5)))) > 1:
            return found if len(found) <= 2 * _TICKS else self._within(LogLocator(subs=(1,)))
        return self._within(MaxNLocator(_TICKS, steps=[1, 2, 5, 10]))

    def _within(self, locator: Locator) -> list[float]:
        found = [float(x) for x in locator.tick_values(self.low, self.high)]
        if self.log:
            slack = (self.high / self.low) ** 1e-6  # for rounding
            return [x for x in found if self.low / slack <= x <= self.high * slack]
        slack = 1e-6 * (self.high - self.low)
        return [x for x in found if self.low - slack <= x <= self.high + slack]


def line_chart(
    lines: Sequence[Line],
    *,
    x_title: str,
    y_title: str,
    log: bool = False,
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    mark: float | None = None,
    diagonal: bool = False,
) -> str:
    """Lines in one picture, with a legend below.

    Args:
        log: the vertical axis has factors of ten, where all numbers are above 0.
        y_range, x_range: of the axes; by default what the numbers need.
        mark: a place on the horizontal axis with a line of its own.
        diagonal: a line from corner to corner.
    """
    lines = [Line(one.name, _finite(one.points), one.color, one.dashed) for one in lines]
    lines = [one for one in lines if one.points]
    xs, ys = ([point[place] for one in lines for point in one.points] for place in (0, 1))
    if not lines:
        return svg_chart([svg_text(WIDTH / 2, HEIGHT / 2, "no numbers")], x_title, y_title)
    log = log and min(ys) > 0
    across = Axis(*(x_range or _widened(min(xs), max(xs), 0)), LEFT + 2, WIDTH - RIGHT)
    up = Axis(
        *(y_range or _log_range(ys) if log else y_range or _widened(min(ys), max(ys), 0.05)), HEIGHT - BOTTOM, TOP, log
    )
    shapes = _grid(across, up)
    if mark is not None and across.low <= mark <= across.high:
        place = across.place(mark)
        shapes.append(f'<line class="mark" x1="{place:.1f}" y1="{TOP}" x2="{place:.1f}" y2="{HEIGHT - BOTTOM}"/>')
    if diagonal:
        shapes.append(svg_line(across.start, up.start, across.end, up.end))
    shapes += [_polyline(one, across, up) for one in lines]
    shapes.append(f'<line class="cursor" x1="0" y1="{TOP}" x2="0" y2="{HEIGHT - BOTTOM}" style="display:none"/>')
    svg = svg_chart(shapes, x_title, y_title, kind="lines", data=f' data-x="{escape(x_title)}"')
    return svg + _legend(lines)


def _legend(lines: Sequence[Line]) -> str:
    items = (
        f"<li><i class={'dashed' if one.dashed else 'solid'} style='background:{one.color}'></i>{escape(one.name)}</li>"
        for one in lines
    )
    return f"<ul class=keys>{''.join(items)}</ul>"


def _polyline(line: Line, across: Axis, up: Axis) -> str:
    points = _thinned(line.points)
    places = " ".join(f"{across.place(x):.1f},{_within(up.place(y), up):.1f}" for x, y in points)
    values = " ".join(f"{x:.6g}:{y:.4g}" for x, y in points)
    dashes = ' stroke-dasharray="5 3"' if line.dashed else ""
    about = f'data-name="{escape(line.name)}" data-values="{values}"'
    drawn = f'<polyline points="{places}" stroke="{line.color}"{dashes} {about}/>'
    if len(points) > 1:
        return drawn
    x, y = points[0]
    return f'{drawn}<circle cx="{across.place(x):.1f}" cy="{_within(up.place(y), up):.1f}" r="3" fill="{line.color}"/>'


def _within(place: float, axis: Axis) -> float:
    return min(max(place, axis.end), axis.start)


def _grid(across: Axis, up: Axis) -> list[str]:
    shapes = []
    for value in up.ticks():
        y = up.place(value)
        shapes += [svg_line(LEFT, y, WIDTH - RIGHT, y), svg_text(LEFT - 5, y + 4, _short(value), "end")]
    for value in across.ticks():
        shapes.append(svg_text(across.place(value), HEIGHT - BOTTOM + 14, _short(value)))
    return shapes


def _short(value: float) -> str:
    """A number in few letters: `25k`, `0.5`, `4e-4`."""
    if 0 < abs(value) < 0.001:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value / 1000:.4g}k" if abs(value) >= 10_000 else f"{value:.4g}"


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _widened(low: float, high: float, share: float) -> tuple[float, float]:
    """With some room at both ends; of one number, a range around it."""
    room = (high - low) * share or (0 if high > low else abs(high) * 0.1 or 1.0)
    return low - room, high + room


def _log_range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return low / 1.1, high * 1.1


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most `MOST_POINTS`: of every stretch the lowest and the highest, and both ends of the line."""
    if len(points) <= MOST_POINTS:
        return points
    stretches = (MOST_POINTS - 2) // 2
    kept = {0, len(points) - 1}
    for stretch in range(stretches):
        part = range(stretch * len(points) // stretches, (stretch + 1) * len(points) // stretches)
        kept |= {min(part, key=lambda index: points[index][1]), max(part, key=lambda index: points[index][1])}
    return [points[index] for index in sorted(kept)]

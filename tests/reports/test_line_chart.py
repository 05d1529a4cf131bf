"""Charts of lines: every number where it belongs, few points of very many, and no number that breaks the picture."""

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.reports.charts import BOTTOM, HEIGHT, TOP, WIDTH
from focalnet_d2.reports.line_chart import MOST_POINTS, Axis, Line, line_chart

numbers = st.floats(-1e30, 1e30) | st.sampled_from([0.0, 1e-12, float("nan"), float("inf")])


def places(chart):
    found = re.findall(r'<polyline points="([^"]*)"', chart)
    return [[tuple(map(float, pair.split(","))) for pair in points.split()] for points in found]


@settings(max_examples=60)
@given(st.lists(numbers, max_size=30), st.booleans())
def test_any_numbers_stay_inside_the_picture(values, log):
    chart = line_chart([Line("<a>", list(enumerate(values)), "red")], x_title="x", y_title="y", log=log)
    assert "nan" not in chart.replace("<a>", "")
    assert "inf" not in chart
    drawn = [place for points in places(chart) for place in points]
    assert len(drawn) == np.isfinite(values).sum()
    assert all(0 <= x <= WIDTH and TOP <= y <= HEIGHT - BOTTOM for x, y in drawn)


@settings(max_examples=60)
@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.booleans())
def test_ticks_are_few_and_inside(low, width, log):
    axis = Axis(abs(low) + 1e-3 if log else low, (abs(low) + 1e-3 if log else low) + width, 0, 100, log)
    if axis.low == axis.high:
        return
    ticks = axis.ticks()
    assert len(ticks) <= 12
    assert ticks == sorted(set(ticks))
    assert all(-0.1 <= axis.place(tick) <= 100.1 for tick in ticks)


def test_values_stand_beside_their_places():
    chart = line_chart([Line("a", [(0, 0), (5, 1), (10, 2)], "red")], x_title="x", y_title="y", y_range=(0, 2))
    ((first, middle, last),) = places(chart)
    assert (first[1], middle[1], last[1]) == (HEIGHT - BOTTOM, (HEIGHT - BOTTOM + TOP) / 2, TOP)
    assert middle[0] - first[0] == last[0] - middle[0]
    assert 'data-values="0:0 5:1 10:2"' in chart


def test_of_very_many_points_peaks_and_ends_stay():
    values = np.random.RandomState(0).rand(20_000)
    values[[777, 15_000]] = 9, -9
    chart = line_chart([Line("a", list(enumerate(values.tolist())), "red")], x_title="x", y_title="y")
    drawn = dict(pair.split(":") for pair in re.search(r'data-values="([^"]*)"', chart).group(1).split())
    assert len(drawn) <= MOST_POINTS
    assert {"0", "777", "15000", "19999"} <= drawn.keys()


def test_a_line_without_numbers_and_one_with_a_single_number():
    assert "no numbers" in line_chart([Line("a", [(0, float("nan"))], "red")], x_title="x", y_title="y")
    assert "<circle" in line_chart([Line("a", [(3, 4)], "red")], x_title="x", y_title="y")

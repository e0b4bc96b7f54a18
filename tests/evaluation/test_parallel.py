"""A line for each row, where its values say."""

import re

import pytest

from offjax.evaluation.charts import HEIGHT
from offjax.evaluation.parallel import Column, parallel_chart


def lines(chart):
    """Places of every line, the last drawn last."""
    found = re.findall(r'<polyline class="line (\w+)"[^>]* points="([^"]*)"', chart.svg)
    return [(style, [tuple(map(float, point.split(","))) for point in points.split()]) for style, points in found]


def test_values_stand_where_their_scale_says():
    columns = [Column("rate", [1e-4, 1e-3, 1e-2]), Column("kind", ["tanh", None, "relu"]), Column("reward", [3, 2, 1])]
    drawn = lines(parallel_chart("p", "title", "description", columns))
    assert [style for style, _ in drawn] == ["r0", "r0", "l0"]  # the best on top
    top, bottom = 0.0, float(HEIGHT)
    assert drawn[2][1] == [(0.0, bottom), (500.0, top), (1000.0, top)]
    assert drawn[1][1] == [(0.0, HEIGHT / 2), (1000.0, HEIGHT / 2)]  # a decade in the middle; no kind
    assert drawn[0][1] == [(0.0, top), (500.0, bottom), (1000.0, bottom)]


@pytest.mark.parametrize("columns", [[], [Column("reward", [1.0])], [Column("a", []), Column("b", [])]])
def test_nothing_to_draw_is_no_chart(columns):
    assert parallel_chart("p", "title", "description", columns) is None


def test_labels_are_escaped():
    assert "<b>" not in parallel_chart("p", "t", "d", [Column("<b>", ["<b>"]), Column("reward", [1.0])]).svg

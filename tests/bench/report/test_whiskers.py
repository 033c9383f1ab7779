"""Intervals of charts: where they are drawn, cut off at the ends of an axis, and counted."""

from __future__ import annotations

import pytest

from bench.report import svg, whiskers

SPANS = [(0, 2.0, 3.0), (1, 0.5, 3.0), (2, 2.0, 9.0), (3, 0.0, 9.0), (4, None, 3.0), (5, 2.0, None)]
"""Within the axis from 1 to 4, below, above, on both sides, and two of which an end is unknown."""


@pytest.mark.parametrize("upright", [True, False])
def test_intervals_are_cut_off_where_the_chart_ends_and_marked_there(upright: bool) -> None:
    axes = svg.canvas(100, 100).add_axes((0, 0, 1, 1))
    out = whiskers.draw(axes, SPANS, whiskers.Axis((1.0, 4.0), 10.0, upright=upright), whiskers.Pen())
    assert out == 3
    [lines] = axes.collections
    ends = [[tuple(point if upright else point[::-1]) for point in segment] for segment in lines.get_segments()]
    assert ends == [
        [(0, 0.2), (0, 0.3)],
        [(1, 0.1), (1, 0.3)],
        [(2, 0.2), (2, 0.4)],
        [(3, 0.1), (3, 0.4)],
    ]
    below, above, cap = ("v", "^", "_") if upright else ("<", ">", "|")
    marks = {line.get_marker(): {tuple(p if upright else p[::-1]) for p in line.get_xydata()} for line in axes.lines}
    assert marks == {
        below: {(1, 0.1), (3, 0.1)},
        above: {(2, 0.4), (3, 0.4)},
        cap: {(0, 0.2), (0, 0.3), (1, 0.3), (2, 0.2)},
    }


def test_intervals_without_caps_have_arrows_alone() -> None:
    axes = svg.canvas(100, 100).add_axes((0, 0, 1, 1))
    axis = whiskers.Axis((1.0, 4.0), 1.0, upright=True)
    assert whiskers.draw(axes, SPANS[:2], axis, whiskers.Pen(capped=False)) == 1
    assert [line.get_marker() for line in axes.lines] == ["v"]


def test_nothing_is_drawn_of_what_is_unknown() -> None:
    axes = svg.canvas(100, 100).add_axes((0, 0, 1, 1))
    assert whiskers.draw(axes, SPANS[4:], whiskers.Axis((1.0, 4.0), 1.0, upright=True), whiskers.Pen()) == 0
    assert not axes.collections
    assert not axes.lines

"""What the page gives on: numbers behind the texts of tables, texts behind the marks of charts, its rows."""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import TYPE_CHECKING

import pytest

from bench import table
from bench.report import cells, svg
from bench.report.blocks import Column, Table
from bench.report.blocks import table as as_html
from bench.report.charts import Look, Mark, Row, Scale, rows
from bench.report.course import Course, Frame, course
from bench.report.curves import Plane, Series, curves
from bench.report.sections import data
from bench.stats import Interval

if TYPE_CHECKING:
    from types import SimpleNamespace

    from bench.report.charts import Chart
    from bench.report.section import Section


def told(chart: Chart) -> list[str]:
    return re.findall(r'<rect class="spot"[^>]*><title>([^<]*)</title></rect>', str(chart.svg))


def embedded(section: Section) -> dict[str, list[list[object]]]:
    return json.loads(re.search(r'<script type="application/json" id="rows">([^<]*)</script>', str(section.body))[1])


@pytest.mark.parametrize(
    ("cell", "text", "value"),
    [
        (cells.quantity(0.00123456789, "s"), "1.23 ms", "0.00123456789"),
        (cells.quantity(3 * 2**20, "B"), "3.00 MiB", "3145728"),
        (cells.quantity(0.0, "ratio"), "0 %", "0"),
        (cells.quantity(None, "s"), "–", ""),
        (cells.figure(None), "–", ""),
        (cells.interval(Interval(2.0, 1.5, 2.5, 3), "s"), "1.50 to 2.50 s", "1.5 2.5"),
        (cells.interval(Interval(2.0, None, None, 1), "s"), "–", ""),
        (cells.times(None), "–", ""),
        (cells.ratio(2 / 3), "0.67", "0.666666667"),
        (cells.ratio(None), "–", ""),
    ],
)
def test_a_cell_keeps_more_digits_than_it_shows(cell: cells.Cell, text: str, value: str) -> None:
    assert (cell.text, cell.value) == (text, value)


def test_a_table_says_what_its_numbers_are() -> None:
    columns = [Column("case", choice=True), Column("time", number=True, unit="s"), Column("reach", ends=True)]
    html = str(as_html(Table(columns, [["a<b", cells.quantity(0.25, "s"), cells.times(None)]])))
    assert '<th scope="col" data-choice>case</th>' in html
    assert '<th scope="col" class="n" data-unit="s">time</th>' in html
    assert '<th scope="col" data-ends>reach</th>' in html
    assert '<td class="n" data-value="0.25">250 ms</td>' in html
    assert '<th scope="row">a&lt;b</th>' in html
    assert "<td>–</td>" in html


def test_marks_of_every_chart_tell_whole_names_figures_and_intervals() -> None:
    name = "a name that is much too long to be drawn whole above a bar of the chart, <b>"
    bars = rows("c", "t", Scale("time", "s"), [Row(name, "1.50 s ±9 %", (Mark(1.5, 1.4, 1.6),))])
    words = "a name that is much too long to be drawn whole above a bar of the chart, &lt;b&gt;"
    assert told(bars) == [f"{words}\n1.50 s ±9 %, 95 % interval 1.40 to 1.60 s"]
    pair = [Row("case", "3 B / 1 B", (Mark(3.0), Mark(1.0)))]
    assert told(rows("c", "t", Scale("size", "B"), pair, legend=("weights", "others"))) == [
        "case\n3 B / 1 B: weights 3 B; others 1 B"
    ]
    lines = [Series("level", Look(0), level=Mark(2.0, 1.0, 3.0)), Series("line", Look(0), ((1, Mark(1.0)),))]
    assert told(curves("c", "t", Plane("batch size", "time", "s"), lines)) == [
        "level\n2.00 s, 95 % interval 1.00 to 3.00 s throughout",
        "line, batch size 1\n1.00 s",
    ]
    past = course("c", "t", Frame(("monday", "friday"), "time", "s"), Course((0, 1), (Mark(1.0), Mark(2.0, 1, 3))), "w")
    assert told(past) == ["monday\n1.00 s", "friday\n2.00 s, 95 % interval 1.00 to 3.00 s"]


def test_spots_lie_within_the_chart_where_their_marks_are() -> None:
    drawn = rows("c", "t", Scale("time", "s"), [Row(str(i), "", (Mark(1.0 + i),)) for i in range(3)])
    width, height = (float(side) for side in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', str(drawn.svg)).groups())
    boxes = [
        [float(side) for side in box]
        for box in re.findall(r'class="spot" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', drawn.svg)
    ]
    assert len(boxes) == 3
    assert [top for _, top, *_ in boxes] == sorted(top for _, top, *_ in boxes)
    assert all(left + wide <= width and top + high <= height for left, top, wide, high in boxes)
    assert all(b[1] == pytest.approx(a[1] + a[3], abs=0.2) for a, b in itertools.pairwise(boxes))


def test_the_page_carries_the_rows_of_the_summary_each_case_once(make: SimpleNamespace) -> None:
    run = make.quick()
    found = embedded(data.build([run]))
    frame = table.summary([run])
    assert found["columns"] == list(frame.columns)
    assert len(found["cases"]) == len(run.cases)
    assert len(found["figures"]) == len(frame)
    for (place, *figure), (_, row) in zip(found["figures"], frame.iterrows(), strict=True):
        values = dict(itertools.zip_longest(found["of_a_figure"], figure))
        of_case = dict(zip(found["of_a_case"], found["cases"][place], strict=True))
        assert (of_case["case"], values["metric"]) == (row["case"], row["metric"])
        assert found["units"][values["metric"]] == row["unit"]
        assert values["samples"] == row["samples"]
        assert (values["low"] is None) == math.isnan(row["low"])
        assert values["value"] == pytest.approx(row["value"], rel=1e-8)


def test_no_text_ends_the_element_that_holds_the_rows(make: SimpleNamespace) -> None:
    hostile = "</script><img src=x onerror=alert(1)>&<!--"
    case = make.case("soft", input=hostile)
    section = data.build([make.run([case], make.timed(case, 0.01), name=hostile)])
    body = str(section.body)
    assert body.count("</script>") == 1
    assert "<img" not in body
    assert "<!--" not in body
    assert hostile in embedded(section)["cases"][0]


def test_runs_without_cases_carry_no_rows(make: SimpleNamespace) -> None:
    assert data.build([make.run([], [])]) is None


def test_words_in_a_chart_keep_their_digits_and_places_lose_theirs() -> None:
    with svg.drawing():
        figure = svg.canvas(90, 90)
        figure.add_axes((0.1234567, 0.1, 0.7654321, 0.8)).set_title("0.00123456")
        text = str(svg.inline(figure, "one", "0.00123456", "took 0.0123456 s"))
    assert text.count("0.00123456") == 2
    assert "took 0.0123456 s" in text
    assert not re.search(r' (?:d|x|y|transform)="[^"]*\.\d{3}', text)

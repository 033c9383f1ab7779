"""The figures of the page as rows, for those who would rather reckon themselves."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from markupsafe import Markup

from bench import table
from bench.report import blocks, cells, naming, view
from bench.report.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bench.results import RunResults

OF_A_FIGURE = ("metric", "value", "processes", "samples", "low", "high", "within", "between")
"""Columns that differ between the rows of one case, those that are often unknown last. The unit is written once for
each metric, and all others once for each case."""

NAME_LENGTH = 60


def build(runs: Sequence[RunResults]) -> Section | None:
    """Returns the summary rows of all cases that a run has come to, or None where there are none."""
    frame = table.summary(runs)
    frame = frame[frame["status"] != "not measured"]
    if frame.empty:
        return None
    parts = [
        blocks.paragraph(
            Markup(
                "This page carries its figures: {}, one for each case and metric, in base units and to nine digits, "
                "with the ends of the 95 % interval (low, high); those of a case without a figure are empty. {} writes "
                "all their digits."
            ).format(naming.count(len(frame), "row"), blocks.inline_code("softmoe-bench export --summary"))
        ),
        Markup(
            '<p id="save" data-name="{}.csv">With scripts off they are the JSON in the source of this page, under the '
            "id <code>rows</code>.</p>"
        ).format(_file_name(runs)),
        _embedded(frame),
    ]
    return Section("data", "Data", blocks.merge(parts))


def _file_name(runs: Sequence[RunResults]) -> str:
    """Returns the names of the runs as a file may be called."""
    return re.sub(r"\W+", "-", " ".join(view.run_names(runs)))[:NAME_LENGTH].strip("-") or "summary"


def _embedded(frame: pd.DataFrame) -> Markup:
    """Returns the rows as JSON that no browser runs: each case once, and its figures with the case's place.

    What a figure's row lacks at its end is unknown.
    """
    of_a_case = [name for name in frame.columns if name not in (*OF_A_FIGURE, "unit")]
    cases: dict[tuple[object, ...], int] = {}
    figures = []
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        place = cases.setdefault(tuple(row[name] for name in of_a_case), len(cases))
        figure = [place, *(_short(row[name]) for name in OF_A_FIGURE)]
        while figure[-1] is None:
            figure.pop()
        figures.append(figure)
    data = {
        "columns": list(frame.columns),
        "of_a_case": of_a_case,
        "of_a_figure": list(OF_A_FIGURE),
        "units": dict(frame[["metric", "unit"]].dropna().itertuples(index=False, name=None)),
        "cases": [[_short(value) for value in case] for case in cases],
        "figures": figures,
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":  # so that no text within ends the element
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup('<script type="application/json" id="rows">{}</script>').format(Markup(text))  # noqa: S704


def _short(value: object) -> object:
    """Returns a number as tables hold it, everything else as it is."""
    return cells.short(value) if isinstance(value, float) else value

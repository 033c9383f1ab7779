"""Files of other programs, and our own that live in git: a table of the forms that runs are written in and read from.

To add a form: one file that writes (and, if it can, reads) it, and one line in the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.exchange import baseline, baseline_reading, dashboards, pytest_json, pytest_sessions
from bench.exchange.reading import load as load

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.exchange.reading import Fields
    from bench.exchange.record import Recorded
    from bench.results import RunResults


@dataclass(frozen=True)
class Form:
    """One form of file: `write` makes its text of a run; `read` makes a run of its content, where `is_one` knows it."""

    name: str
    text: str
    write: Callable[[RunResults], str] | None = None
    read: Callable[[Fields], Recorded] | None = None
    is_one: Callable[[Fields], bool] = lambda _fields: False


TABLE: dict[str, Form] = {
    form.name: form
    for form in (
        Form(
            "pytest-benchmark",
            "pytest-benchmark's JSON, for its compare; nothing is lost on the way back",
            pytest_json.write,
            pytest_json.read,
            pytest_json.is_one,
        ),
        Form(
            "github-action-benchmark",
            "latency and memory for the action's tool customSmallerIsBetter",
            dashboards.github_action_benchmark,
        ),
        Form("bencher", "latency and memory in Bencher's metric format", dashboards.bencher),
        Form(
            "baseline",
            "a small file for git; written by `baseline export`",
            read=baseline_reading.read,
            is_one=baseline.is_one,
        ),
    )
}
"""Forms of one run in one file, beside the tables that `export` writes of any number of runs."""

WRITTEN = tuple(name for name, form in TABLE.items() if form.write is not None)


def recognise(fields: Fields) -> Form | None:
    """Returns the form of a file by its content, None for a session that pytest-benchmark wrote itself.

    Raises:
        InputError: it is none that can be read.
    """
    form = next((form for form in TABLE.values() if form.is_one(fields)), None)
    if form is None and not pytest_sessions.is_one(fields):
        fields.refuse("neither a baseline of softmoe-bench nor pytest-benchmark's JSON: nothing else can be imported")
    return form

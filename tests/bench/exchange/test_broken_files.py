"""Any field of a file may hold anything: it is read or refused, and no other error comes of it."""

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded import HERE, dense, failed, measured, results, soft

from bench.errors import BenchError
from bench.exchange import baseline, baseline_reading, pytest_json, pytest_sessions, reading

OUTCOMES = [*measured(soft(), [1e-3, 2e-3]), failed(dense())]
FOUND = results(OUTCOMES, [soft(), dense()])
SESSION = {
    "machine_info": {"softmoe_bench": HERE},
    "commit_info": {"id": "c0ffee", "branch": "main", "dirty": False},
    "benchmarks": [
        {
            "fullname": "test_it.py::test_soft",
            "extra_info": {"case": soft().id, "axes": dict(soft())},
            "stats": {"median": 2.0, "data": [1.0, 2.0, 3.0]},
        }
    ],
    "datetime": "2026-11-26T19:45:13+00:00",
}
FILES = {
    "baseline": json.loads(baseline.write(FOUND, "main")),
    "pytest-benchmark": json.loads(pytest_json.write(FOUND)),
    "session": SESSION,
}
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = st.recursive(
    LEAVES | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def paths(content: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a file stands."""
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [here, *(path for key, value in inside for path in paths(value, (*here, key)))]


def read(kind: str, text: str) -> None:
    fields = reading.parse(text, "file.json")
    if kind == "baseline":
        baseline.write(baseline_reading.read(fields).results, "main")
    elif kind == "session":
        pytest_json.write(pytest_sessions.read([fields], "mine")[0].results)
    else:
        pytest_json.write(pytest_json.read(fields).results)


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_field_that_holds_anything(kind: str, data: st.DataObject) -> None:
    content = copy.deepcopy(FILES[kind])
    path = data.draw(st.sampled_from(paths(content)[1:]))
    place = content
    for key in path[:-1]:
        place = place[key]
    if isinstance(place, dict) and data.draw(st.booleans()):
        del place[path[-1]]
    else:
        place[path[-1]] = data.draw(ANYTHING)
    with suppress(BenchError):
        read(kind, json.dumps(content))

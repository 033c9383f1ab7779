"""pytest-benchmark's form: its own program reads what we write, and we read what its sessions write."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recorded import HERE, dense, failed, measured, results, run, soft, timed

from bench.errors import InputError, NotComparableError
from bench.exchange import pytest_json, pytest_sessions, reading
from bench.exchange.record import stable_name
from bench.records import Case, Status
from bench.results import RunResults


def found(name: str, seconds: float) -> RunResults:
    outcomes = [*measured(soft(), [seconds, seconds, 1.1 * seconds]), *measured(dense(), [2e-3]), failed(soft(seed=1))]
    return results(outcomes, [soft(), dense(), soft(seed=1)], of=replace(run(name), id=f"{name:0>12}"))


def test_its_own_compare_reads_two_of_our_runs(tmp_path: Path) -> None:
    for name, seconds in (("1a", 1e-3), ("1b", 1.5e-3)):
        (tmp_path / f"{name}.json").write_text(pytest_json.write(found(name, seconds)))
    words = ["compare", "1a.json", "1b.json", "--columns=median,rounds", "--csv=out", "--time-unit=ms"]
    done = subprocess.run(
        [sys.executable, "-c", "from pytest_benchmark.cli import main; main()", *words],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"benchmark '{stable_name(soft())}': 2 tests" in done.stdout
    assert f"benchmark '{stable_name(dense())}': 2 tests" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(stable_name(soft()))]
    assert [row[-3:] for row in rows] == [["1.0000", "(1.0)", "15"], ["1.5000", "(1.50)", "15"]]
    table = (tmp_path / "out.csv").read_text().splitlines()
    assert table[0].startswith("name,")
    assert len(table) == 5


def test_statistics_are_its_own() -> None:
    outcomes = [timed(soft(), 1, 1.0, count=3), timed(soft(), 2, 4.0, count=1)]
    (benchmark,) = json.loads(pytest_json.write(results(outcomes, [soft()])))["benchmarks"]
    stats = benchmark["stats"]
    assert stats["data"] == [1.0, 1.0, 1.0, 4.0]
    assert (stats["min"], stats["max"], stats["mean"], stats["median"]) == (1.0, 4.0, 1.75, 1.0)
    assert (stats["rounds"], stats["iterations"], stats["stddev"]) == (4, 1, 1.5)
    assert stats["ops"] == 4 / 7


def test_cases_can_be_grouped_by_their_axes() -> None:
    (first, _) = json.loads(pytest_json.write(found("1a", 1.0)))["benchmarks"]
    assert first["params"]["num_experts"] == 8
    assert first["extra_info"]["axes"] == dict(soft())
    assert first["extra_info"]["case"] == soft().id


def test_what_failed_comes_back_too() -> None:
    back = pytest_json.read(reading.parse(pytest_json.write(found("1a", 1.0)), "out.json")).results
    assert [result.case for result in back.cases] == [soft(), dense(), soft(seed=1)]
    assert (back.cases[2].status, back.cases[2].detail) == (Status.ERROR, "ValueError: it broke")
    assert back.cases[0].value("peak_memory") == 2e6
    assert back.cases[0].figures["relative_latency"].by_repeat == {1: 1000, 2: 1000, 3: pytest.approx(1100)}


def test_samples_that_do_not_add_up_are_refused() -> None:
    content = json.loads(pytest_json.write(found("1a", 1.0)))
    content["benchmarks"][0]["stats"]["data"].pop()
    with pytest.raises(InputError, match=r"out\.json: benchmarks\[0\]: extra_info: its processes took 15 samples, but"):
        pytest_json.read(reading.parse(json.dumps(content), "out.json"))


# sessions of pytest itself


def session(*tests: dict[str, Any], machine: dict[str, Any] | None = None, name: str = "a.json") -> reading.Fields:
    content = {
        "machine_info": {"node": "box", "softmoe_bench": HERE if machine is None else machine},
        "commit_info": {"id": "c0ffee", "branch": "main", "dirty": True},
        "benchmarks": list(tests),
        "datetime": "2026-11-26T19:45:13.123456+00:00",
        "version": "5.3.1",
    }
    fields = reading.parse(json.dumps(content), name)
    assert pytest_sessions.is_one(fields)
    assert not pytest_json.is_one(fields)
    return fields


def a_test(case: Case | None, *seconds: float, data: bool = True) -> dict[str, Any]:
    """A test as a session writes it, with its samples or, as it saves by default, without."""
    extra = {} if case is None else {"case": case.id, "axes": dict(case), "flops": 1}
    stats: dict[str, Any] = {"median": sorted(seconds)[len(seconds) // 2], "rounds": len(seconds)}
    return {
        "fullname": f"tests/test_it.py::test_{'other' if case is None else case['layer']}",
        "extra_info": extra,
        "stats": stats | ({"data": list(seconds)} if data else {}),
    }


def test_sessions_are_the_processes_of_one_run() -> None:
    recorded, strangers = pytest_sessions.read(
        [
            session(a_test(soft(), 1.0, 2.0, 3.0), a_test(dense(), 5.0)),
            session(a_test(soft(), 2.0, 2.0, 2.5), name="b.json"),
        ],
        "mine",
    )
    back = recorded.results
    assert not strangers
    assert (back.run.name, back.run.state, back.run.environment.comparable) == ("mine", "complete", HERE)
    assert back.run.environment.informational["git"] == {"commit": "c0ffee", "branch": "main", "dirty": True}
    assert [result.case for result in back.cases] == [dense(), soft()]
    assert back.cases[1].figures["latency"].by_repeat == {1: 2.0, 2: 2.0}
    assert {result.status for result in back.cases} == {Status.OK}


def test_two_tests_of_a_case_in_one_session_are_one_process() -> None:
    """They share all that makes one process differ from another, so they are no replicates."""
    recorded, _ = pytest_sessions.read([session(a_test(soft(), 1.0), a_test(soft(), 3.0))], "mine")
    (outcome,) = recorded.outcomes
    assert outcome.samples("latency") == (1.0, 3.0)


def test_a_session_saved_without_its_samples_has_its_median() -> None:
    recorded, _ = pytest_sessions.read([session(a_test(soft(), 1.0, 2.0, 9.0, data=False))], "mine")
    assert recorded.outcomes[0].samples("latency") == (2.0,)


def test_the_same_sessions_are_the_same_run_in_any_order() -> None:
    a, b = session(a_test(soft(), 1.0)), session(a_test(soft(), 2.0), name="b.json")
    ids = {pytest_sessions.read(files, "mine")[0].run.id for files in ([a, b], [b, a], [a])}
    assert len(ids) == 2


def test_tests_of_nobody_are_named() -> None:
    _, strangers = pytest_sessions.read([session(a_test(soft(), 1.0), a_test(None, 1.0))], "mine")
    assert strangers == ["tests/test_it.py::test_other"]
    with pytest.raises(InputError, match=r"a\.json: none of its 1 tests says which case .* use the `softmoe` fixture"):
        pytest_sessions.read([session(a_test(None, 1.0))], "mine")


def test_sessions_of_two_machines_are_no_run() -> None:
    other = session(a_test(soft(), 1.0), machine={**HERE, "torch": "2.12.0"}, name="b.json")
    with pytest.raises(NotComparableError, match=r"a\.json and b\.json .* torch is 2\.13\.0 against 2\.12\.0"):
        pytest_sessions.read([session(a_test(soft(), 1.0)), other], "mine")


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        (
            {**a_test(soft(), 1.0), "stats": {"data": [0.0]}},
            "stats: 'data' holds a time that is not above 0",
        ),
        ({**a_test(soft(), 1.0), "stats": None}, "'stats' is null, expected an object"),
        ({**a_test(soft(), 1.0), "extra_info": {"case": "0" * 16, "axes": dict(soft())}}, "its axes give"),
        (
            {
                **a_test(soft(), 1.0),
                "extra_info": {"case": soft().id, "axes": dict(soft()), "measured_in": "fresh processes"},
            },
            "of several processes",
        ),
    ],
    ids=["zero", "no stats", "another case", "several processes"],
)
def test_what_is_wrong_in_a_session_is_told(test: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        pytest_sessions.read([session(test)], "mine")

"""selfcheck as a user meets it: a real run of two tiny cases, recorded ones, and mistakes."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from listening import listen
from recorded import dense, failed, measured, run, soft

from bench.cli import group
from bench.errors import BenchError, Exit
from bench.records import Outcome, Planned, Status
from bench.store import open_store

TINY = """
[grid]
name = "tiny"
[run]
max_seconds = 0.02
[defaults]
seq_len = 16
d_model = 16
d_ff = 32
[[sweep]]
layer = "dense"
batch_size = [1, 2]
"""
STEADY = [1.00, 1.01, 0.99, 1.00, 1.01]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tiny.toml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def store_run(outcomes: list[Outcome], name: str = "selfcheck-quick-1") -> None:
    """Keeps a run of one soft and one dense case in the current folder's store."""
    store = open_store(create=True)
    store.start_run(run(name), [Planned(soft()), Planned(dense())])
    for outcome in outcomes:
        store.add_outcome(run().id, outcome)
    store.set_state(run().id, "complete")
    store.close()


def invoke(*words: str) -> Result:
    return CliRunner().invoke(group, ["selfcheck", *words], standalone_mode=False)


def complaint(*words: str) -> str:
    """The one line that a mistake gives."""
    result = invoke(*words)
    assert isinstance(result.exception, BenchError), (result.output, result.exception)
    assert result.exception.exit_code is Exit.BAD_INPUT
    return str(result.exception)


def program(*words: str) -> list[str]:
    return [sys.executable, "-m", "bench", *words]


@pytest.mark.usefixtures("here")
def test_a_grid_is_measured_kept_and_compared_with_itself() -> None:
    words = ("selfcheck", "--grid", "tiny.toml", "--processes", "6", "--seconds", "60", "--json")
    done = subprocess.run(program(*words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["run"] == "selfcheck-tiny-1"
    assert answer["false_alarms"]["trials"] == 2
    assert [(case["processes"], case["chosen"]) for case in answer["cases"]] == [(6, 3), (6, 3)]
    assert [[look["processes"] for look in case["looks"]] for case in answer["cases"]] == [[3], [3]]
    assert all("measure --processes" in case["statement"] for case in answer["cases"])
    for again in (("show", "selfcheck-tiny-1"), ("selfcheck", "--from", "latest")):
        shown = subprocess.run(program(*again), capture_output=True, text=True, check=False)
        assert shown.returncode == 0, shown.stderr
        assert max(map(len, shown.stdout.splitlines())) <= 100


@pytest.mark.usefixtures("here")
def test_ctrl_c_keeps_what_was_measured_and_says_how_to_go_on() -> None:
    words = program("selfcheck", "--grid", "tiny.toml", "--processes", "400", "--name", "mine")
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen,  # noqa: PLW1509  (no other thread runs here)
    ) as started:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not kept():
            time.sleep(0.05)
        os.kill(started.pid, signal.SIGINT)
        _, said = started.communicate(timeout=60)
    assert started.returncode == Exit.INTERRUPTED, said
    assert said.splitlines()[-1] == (
        "interrupted; everything measured is kept, go on with: softmoe-bench run --resume selfcheck-mine"
        " && softmoe-bench selfcheck --from selfcheck-mine"
    )
    assert kept() > 0


def kept() -> int:
    """How many outcomes the store of the current folder has."""
    if not Path("softmoe-bench.db").exists():
        return 0
    store = open_store()
    runs = store.runs()
    count = sum(len(store.outcomes(found.id)) for found in runs)
    store.close()
    return count


@pytest.mark.usefixtures("here")
def test_the_answer_for_people() -> None:
    store_run(measured(soft(), STEADY * 4) + measured(dense(), [*STEADY, *(1.5 * value for value in STEADY)]))
    result = invoke("--from", "latest")
    assert result.return_value == Exit.OK
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 100
    rows = [line.split() for line in lines if line.strip().startswith(("case", "soft", "dense"))]
    assert rows[0] == [
        "case",
        "processes",
        "time",
        "false",
        "alarms",
        "same",
        "unclear",
        "with",
        "3",
        "with",
        "5",
        "with",
        "10",
    ]
    assert rows[1][:9] == ["soft/fused", "5", "2.5", "s", "0", "of", "2", "2", "0"]
    assert rows[2] == ["dense", "5", "2.5", "s", "1", "of", "1", "0", "0", *rows[2][9:]]
    assert "false alarms with 5 processes a side: 1 of 3 (33 %; 1 % to 91 %)" in lines
    end = "threshold 5%: false alarms 1 of 3 (33 %; 1 % to 91 %), 2 called same, 0 unclear"
    assert " ".join(" ".join(lines).split()).endswith(end)


@pytest.mark.usefixtures("here")
def test_the_answer_for_programs() -> None:
    store_run(measured(soft(), [1.0] * 10) + measured(dense(), [1.0] * 10))
    result = invoke("--from", "latest", "--threshold", "0.2", "--json")
    answer = json.loads(result.output)
    assert (answer["threshold"], answer["seconds"]) == (0.2, None)
    alarms = answer["false_alarms"]
    assert (alarms["count"], alarms["trials"], alarms["rate"], alarms["low"]) == (0, 2, 0.0, 0.0)
    assert alarms["high"] == pytest.approx(0.842, abs=1e-3)
    (look,) = [look for look in answer["cases"][0]["looks"] if look["processes"] == 5]
    assert look["smallest_change"] == pytest.approx(0.2, abs=1e-3)
    assert (look["trials"], look["false_alarms"], look["same"], look["unclear"]) == (1, 0, 1, 0)


@pytest.mark.usefixtures("here")
def test_a_failed_case_is_named_and_gives_exit_code_3() -> None:
    store_run([*measured(soft(), STEADY * 2), failed(dense(), Status.CRASHED, "signal 11")])
    result = invoke("--from", "latest")
    assert result.return_value == Exit.INCOMPLETE
    assert "dense: crashed: signal 11" in result.output


@pytest.mark.usefixtures("here")
def test_a_run_with_too_few_processes_is_refused() -> None:
    store_run([replace(outcome) for outcome in measured(soft(), STEADY)], name="quick-1")
    assert complaint("--from", "quick-1") == (
        "run quick-1 has at most 5 timed processes of a case: selfcheck needs 6;"
        " measure them with `softmoe-bench selfcheck --grid ...`"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to measure: --grid NAME|FILE (see `softmoe-bench list grids`), or --from RUN"),
        (["--grid", "tiny.toml", "--processes", "5"], "--processes 5: give at least 6, for two sides of 3"),
        (
            ["--from", "latest", "--processes", "9"],
            "--from analyses what a run has: only --seconds, --threshold, --store, --json go with it",
        ),
        (["--grid", "quik"], "quick"),
        (["--grid", "tiny.toml", "num_expert=3"], "did you mean num_experts?"),
    ],
)
def test_mistakes_are_one_line(here: Path, words: list[str], message: str) -> None:
    assert message in complaint(*words)
    assert not (here / "softmoe-bench.db").exists()

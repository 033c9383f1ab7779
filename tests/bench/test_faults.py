"""The fault matrix, workers: each fault is injected for real and ends as an outcome, never as an exception of ours."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from processes import all_gone, children
from recorded import PROBE, SETTINGS

from bench import plan
from bench.executors import IsolatedExecutor
from bench.executors.log import BYTES
from bench.grid import Grid
from bench.plan import Plan
from bench.records import Case, Outcome, Planned, Status
from bench.run import Progress, execute, new_run
from bench.store import open_store

AXES = {"num_experts": 2, "slots_per_expert": 1, "seq_len": 8, "d_model": 8, "d_ff": 8}
ONCE = replace(SETTINGS, repeats=1, timeout=60.0)

OK, ERROR, CRASHED, TIMEOUT = Status.OK, Status.ERROR, Status.CRASHED, Status.TIMEOUT
OUT_OF_MEMORY = Status.OUT_OF_MEMORY
NO_RESULT = "and left no result"
BROKEN = "the worker left a broken result: "

MATRIX = [
    ("Hangs", TIMEOUT, "not finished after 2 s (--timeout)"),
    ("IsDeaf", TIMEOUT, "not finished after 2 s (--timeout)"),
    ("NeverStopsTalking", TIMEOUT, "not finished after 2 s (--timeout)\n"),
    ("Chatters", OK, ""),
    ("Dies", CRASHED, f"the worker ended with signal 11 (SIGSEGV) {NO_RESULT}"),
    ("Segfaults", CRASHED, f"the worker ended with signal 11 (SIGSEGV) {NO_RESULT}"),
    ("IsKilled", CRASHED, f"the worker ended with signal 9 (SIGKILL) {NO_RESULT}"),
    ("IsTerminated", CRASHED, f"the worker ended with signal 15 (SIGTERM) {NO_RESULT}"),
    ("Exits", CRASHED, f"the worker ended with exit code 7 {NO_RESULT}\nlast words"),
    ("ExitsLikeAFullDisk", CRASHED, f"the worker ended with exit code 74 {NO_RESULT}"),
    ("Devours", OUT_OF_MEMORY, "can't allocate memory"),
    ("HoardsTensors", OUT_OF_MEMORY, "here, most of what was free when it started)"),
    ("HoardsObjects", OUT_OF_MEMORY, "MemoryError (a worker may take "),
    ("Overdraws", OUT_OF_MEMORY, "CUDA out of memory. Tried to allocate 80.00 GiB"),
    ("LeavesChildren", OK, ""),
    ("ClosesEverything", OK, ""),
    ("ReplacesStdout", OK, ""),
    ("Raises", ERROR, "ValueError: no tokens today"),
    ("RaisesSystemExit", ERROR, "SystemExit: 3"),
    ("RaisesKeyboardInterrupt", ERROR, "KeyboardInterrupt"),
    ("LosesContext", ERROR, "device-side assert triggered (the CUDA context of this process is lost"),
    ("LeavesNothing", CRASHED, f"{BROKEN}Expecting value"),
    ("LeavesHalf", CRASHED, f"{BROKEN}Unterminated string"),
    ("LeavesAList", CRASHED, f"{BROKEN}the result is [1, 2, 3], expected an object"),
    ("LeavesABinary", CRASHED, f"{BROKEN}'utf-8' codec can't decode"),
    ("LeavesAnUnknownStatus", CRASHED, f"{BROKEN}its status is 'splendid', expected one of ok, out_of_memory"),
    ("LeavesNaN", CRASHED, f"{BROKEN}it holds NaN, expected finite numbers"),
    ("LeavesWordsForSamples", CRASHED, f"{BROKEN}a sample of latency is 'fast', expected a finite number"),
    ("LeavesAnInfinity", CRASHED, f"{BROKEN}a sample of latency is inf, expected a finite number"),
    ("LeavesAnUnknownCaveat", CRASHED, f"{BROKEN}there is no caveat 'moody'"),
    ("LeavesADeepHole", CRASHED, f"{BROKEN}maximum recursion depth"),
    ("LeavesAGiant", CRASHED, f"{BROKEN}it has more than 64 MiB"),
]
"""What a layer does -> how its case ends, and in which words."""


@pytest.fixture(scope="module")
def pids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where layers write down the processes that should not outlive them."""
    return tmp_path_factory.mktemp("faults") / "pids"


@pytest.fixture(scope="module")
def executor(pids: Path) -> Iterator[IsolatedExecutor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRANGE_PIDS", str(pids))  # a worker has the environment of its server
        working = IsolatedExecutor()
        working.__enter__()
    yield working
    working.__exit__()


def strange(name: str, **axes: object) -> Case:
    return plan.single(f"strange_layers:{name}", {**AXES, **axes})


class Silence(Progress):
    """Shows nothing."""

    def begin(self, total: int) -> None: ...
    def pass_over(self, case: Case) -> None: ...
    def start(self, case: Case, repeat: int) -> None: ...
    def end(self, case: Case, outcome: Outcome) -> None: ...


@pytest.mark.parametrize(("name", "status", "words"), MATRIX, ids=[name for name, *_ in MATRIX])
def test_every_fault_is_an_outcome(
    executor: IsolatedExecutor, pids: Path, tmp_path: Path, name: str, status: Status, words: str
) -> None:
    case = strange(name)
    one = Plan(Grid("faults", "Does it survive?", "faults.toml"), (Planned(case),))
    settings = replace(ONCE, timeout=2.0) if status is TIMEOUT else ONCE
    store = open_store(str(tmp_path / "s.db"), create=True)
    run = new_run(store, one, PROBE, settings)
    summary = execute(one, executor, store, run, settings, Silence())
    outcomes = store.outcomes(run.id)
    store.close()
    assert {outcome.status for outcome in outcomes} == {status}, outcomes[0].detail
    assert words in outcomes[0].detail
    assert len(outcomes[0].detail) < 2 * BYTES
    assert summary.failed == (() if status is OK else (case.id,))
    assert len(outcomes) == (2 if status is OK else 1)
    assert is_sound(tmp_path / "s.db")
    assert executor._server.pid is not None
    assert children(executor._server.pid) == []
    all_gone([int(word) for word in pids.read_text().split()] if pids.exists() else [])


def test_the_processes_of_a_fault_were_there(pids: Path) -> None:
    """So that none of the tests above looks for the absence of what never was."""
    assert len(pids.read_text().split()) == 2 + 1 + 1 + 2 * 4


def is_sound(store: Path) -> bool:
    connection = sqlite3.connect(store)
    try:
        return [row for (row,) in connection.execute("PRAGMA integrity_check")] == ["ok"]
    finally:
        connection.close()

"""The fault matrix, workers: each fault is injected for real and ends as an outcome, never as an exception of ours."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from disks import fill, is_sound
from processes import all_gone, children
from recorded import PROBE, SETTINGS, soft

from bench import plan
from bench.errors import WorkerError
from bench.executors import IsolatedExecutor
from bench.executors.fork_server import Interpreter
from bench.executors.inline import InlineExecutor
from bench.executors.log import BYTES
from bench.executors.scratch import Scratch
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

STARTED = {"Hangs": 2, "IsDeaf": 1, "NeverStopsTalking": 1, "LeavesChildren": 2 * 4}
"""How many processes a layer writes down: those that the test must not find afterwards."""


@pytest.fixture(scope="module")
def pids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where layers write down the processes that should not outlive them."""
    return tmp_path_factory.mktemp("faults") / "pids"


@pytest.fixture(scope="module")
def executor(pids: Path) -> Iterator[IsolatedExecutor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRANGE_PIDS", str(pids))  # a worker has the environment of its server
        with IsolatedExecutor() as working:
            yield working


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
    pids.unlink(missing_ok=True)
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
    started = pids.read_text().split() if pids.exists() else []
    assert len(started) == STARTED.get(name, 0)
    assert executor._server.pid is not None
    assert children(executor._server.pid) == []
    all_gone([int(pid) for pid in started])


def test_a_server_killed_between_two_tasks_is_started_again(executor: IsolatedExecutor) -> None:
    assert attempt(executor, soft()).status is OK
    before = executor._server.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    assert attempt(executor, soft()).status is OK
    assert executor._server.pid != before


def test_a_server_killed_during_a_task_takes_the_worker_and_what_that_started_with_it(
    executor: IsolatedExecutor, pids: Path
) -> None:
    pids.unlink(missing_ok=True)
    executor.probe([])
    program = (
        f"import os, sys; sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path\n"
        "from processes import wait_until\n"
        f"wait_until(lambda: Path({str(pids)!r}).exists() and Path({str(pids)!r}).read_text().endswith(chr(10)))\n"
        f"os.kill({executor._server.pid}, 9)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program]):
        outcome = attempt(executor, strange("Hangs"))
    assert outcome.status is CRASHED
    assert outcome.detail == "the server that forks the workers was killed, and the worker with it"
    all_gone([int(word) for word in pids.read_text().split()])
    assert attempt(executor, soft()).status is OK


def test_a_server_that_cannot_live_is_no_outcome(executor: IsolatedExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor._server, "_interpreter", Interpreter(python="/bin/false"))
    executor._server.stop()
    with pytest.raises(
        WorkerError, match="no worker process can be started: the server that forks them ended with exit code 1"
    ):
        attempt(executor, soft())


def test_a_full_scratch_folder_is_said_once_and_nothing_is_half_written(
    small_disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = small_disk("512k")
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    with IsolatedExecutor() as working:
        assert attempt(working, soft()).status is OK
        fill(disk)
        with pytest.raises(
            WorkerError,
            match=f"the scratch folder {disk} has no room left: free some, or set TMPDIR to another folder",
        ):
            attempt(working, soft())
        (disk / "filler").unlink()
        assert attempt(working, soft()).status is OK
    assert list(disk.iterdir()) == []


def test_folders_of_killed_programs_are_removed_and_those_of_living_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = (
        f"import os, signal, sys; sys.path[:0] = {sys.path!r}\n"
        "import tempfile\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "from bench.executors.scratch import Scratch\n"
        "(Scratch().path / 'left').write_text('x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    (abandoned,) = tmp_path.iterdir()
    living = Scratch()
    assert not abandoned.exists()
    another = Scratch()
    assert living.path.exists()
    living.remove()
    another.remove()
    assert list(tmp_path.iterdir()) == []


def test_in_this_very_process_nothing_is_asked_of_a_device_whose_context_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.worker.main.LOST", [RuntimeError("CUDA error: an illegal memory access\nmore")])
    monkeypatch.setattr("bench.worker.main.build", _forbidden)
    lost = InlineExecutor().run(plan.task(soft().with_axes(device="cuda"), 1, ONCE))
    assert lost.status is ERROR
    assert lost.detail == (
        "an earlier case of this process lost its CUDA context (CUDA error: an illegal memory access), and nothing can"
        " be measured on the device after it: use --executor isolated, where each case has a process of its own"
    )


def test_in_this_very_process_ctrl_c_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.worker.main.LOST", [])
    with pytest.raises(KeyboardInterrupt):
        InlineExecutor().run(plan.task(strange("RaisesKeyboardInterrupt"), 1, ONCE))
    assert InlineExecutor().run(plan.task(strange("RaisesSystemExit"), 1, ONCE)).status is ERROR


def _forbidden(*_: object) -> None:
    raise AssertionError("the device was asked for something")


def attempt(executor: IsolatedExecutor, case: Case) -> Outcome:
    return executor.run(plan.task(case, 1, ONCE))

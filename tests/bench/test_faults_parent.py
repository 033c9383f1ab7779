"""The fault matrix, parents: whatever befalls the program, what is finished is kept and the store is sound."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import doomed
import pytest
from disks import fill, is_sound
from listening import listen
from processes import alive, all_gone, children, wait_until
from recorded import PROBE, run, soft, timed

from bench.errors import StoreError
from bench.interrupts import first_only, held
from bench.records import Planned
from bench.store import open_store

FAKES = Path(__file__).parents[1] / "fakes"
PATHS = os.pathsep.join([str(FAKES), *sys.path])
SEED = 4
TINY = """
[grid]
name = "tiny"
[run]
repeats = 3
max_seconds = 0.02
[defaults]
seq_len = 8
d_model = 8
d_ff = 8
[[sweep]]
layer = "soft"
num_experts = [2, 4]
slots_per_expert = 1
"""
PROCESSES = 2 * 4
"""What the grid above has to measure."""

Program = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Starts the command line in a folder with a tiny grid."""
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "scratch").mkdir()

    def start(*words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "bench", *words],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": PATHS,
                "TMPDIR": str(tmp_path / "scratch"),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=listen,  # noqa: PLW1509  (no other thread runs here)
        )

    return start


def kept(path: Path) -> dict[tuple[str, int], float]:
    """When each outcome in a store was started, by case and repeat; empty while there is none."""
    if not path.exists():
        return {}
    connection = sqlite3.connect(path, timeout=60)
    try:
        return {
            (case, repeat): at
            for case, repeat, at in connection.execute("SELECT case_id, repeat, started FROM outcomes")
        }
    except sqlite3.OperationalError:
        return {}
    finally:
        connection.close()


class Doomed:
    """A parent in a process of its own, and what it tells until it ends."""

    context = get_context("forkserver")

    def __init__(self, path: Path) -> None:
        self.context.set_forkserver_preload(["doomed"])
        self.told, tells = self.context.Pipe(duplex=False)
        self.process = self.context.Process(target=doomed.main, args=(str(path), tells))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", PATHS)  # a fork server of Python 3.11 looks for what it preloads only here
            self.process.start()
        tells.close()
        self.told.recv()  # it begins

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def last_words(self) -> list[Any]:
        words = []
        with suppress(EOFError):
            while True:
                words.append(self.told.recv())
        self.process.join()
        return words


def test_two_hundred_kills_lose_no_outcome(tmp_path: Path) -> None:
    """Of the real loop and the real store; a worker would only add time between the moments that matter."""
    moments = random.Random(SEED)  # noqa: S311  (moments, not secrets)
    path = tmp_path / "s.db"
    total = len(doomed.outcomes())
    known: set[tuple[str, int]] = set()
    cut_short = 0
    for _ in range(200):
        parent = Doomed(path)
        time.sleep(moments.uniform(0, 0.1))
        parent.process.kill()
        words = parent.last_words()
        cut_short += "complete" not in words
        known |= set(words) - {"complete"}
        there = set(kept(path))
        assert known <= there
        assert is_sound(path)
        if len(there) == total:
            path.unlink()
            known = set()
    assert cut_short > 100
    assert Doomed(path).last_words()[-1] == "complete"
    store = open_store(str(path))
    outcomes = store.outcomes(store.runs()[-1].id)
    store.close()
    assert len(outcomes) == total
    assert all(len(o.samples("latency")) == 5 for o in outcomes if o.repeat)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_moment_keeps_what_is_finished(number: signal.Signals, tmp_path: Path) -> None:
    """A second one follows at once, and changes nothing."""
    moments = random.Random(SEED + number)  # noqa: S311
    for attempt in range(8):
        path = tmp_path / f"{attempt}.db"
        parent = Doomed(path)
        time.sleep(moments.uniform(0, 0.05))
        parent.send(number)
        parent.send(number)
        *told, end = parent.last_words()
        assert end == "interrupted"
        assert parent.process.exitcode == 0
        assert set(told) <= set(kept(path))
        store = open_store(str(path))
        assert store.runs()[-1].state == "interrupted"
        store.close()
        assert is_sound(path)


def test_a_signal_during_a_write_waits_until_it_is_done() -> None:
    done: list[str] = []

    def write() -> None:
        with held():
            signal.raise_signal(signal.SIGTERM)
            done.append("written")

    with first_only():
        with pytest.raises(KeyboardInterrupt):
            write()
        signal.raise_signal(signal.SIGINT)  # a second one is ignored
        done.append("said how to go on")
    assert done == ["written", "said how to go on"]


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with first_only(), held():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_line_ends_its_worker_and_says_how_to_go_on(
    program: Program, tmp_path: Path, number: signal.Signals
) -> None:
    pids = tmp_path / "pids"
    words = ["run", "--grid", "tiny.toml", "--store", "my.db", "--layer", "strange_layers:Hangs"]
    with program(*words, STRANGE_PIDS=str(pids)) as running:
        wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        running.send_signal(number)
        running.send_signal(number)
        _, err = running.communicate()
    assert running.returncode == 130
    assert err.splitlines()[-1] == (
        "interrupted; everything measured is kept, go on with: softmoe-bench run --resume tiny-1 --store my.db"
    )
    assert "Traceback" not in err
    all_gone([int(word) for word in pids.read_text().split()])
    assert list((tmp_path / "scratch").glob("softmoe-bench-*")) == []
    assert is_sound(tmp_path / "my.db")


def test_the_worker_and_all_its_processes_die_with_a_killed_parent(program: Program, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with program("run", "--grid", "tiny.toml", "--layer", "strange_layers:Hangs", STRANGE_PIDS=str(pids)) as running:
        wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        servers = children(running.pid)
        running.kill()
    assert servers
    all_gone([*servers, *(int(word) for word in pids.read_text().split())])
    assert len(list((tmp_path / "scratch").glob("softmoe-bench-*"))) == 1
    with program("doctor") as another:
        another.communicate()
    assert list((tmp_path / "scratch").glob("softmoe-bench-*")) == []


def kept_runs(path: Path) -> int:
    if not path.exists():
        return 0
    connection = sqlite3.connect(path, timeout=60)
    try:
        return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def kill_again_and_again(program: Program, path: Path, kills: int, longest: float) -> dict[tuple[str, int], float]:
    """Kills the command line at random moments and goes on with its run; returns what is in the store at last."""
    moments = random.Random(SEED)  # noqa: S311  (moments, not secrets)
    seen: dict[tuple[str, int], float] = {}
    for _ in range(kills):
        with program("run", *asking(path)) as running:
            time.sleep(moments.uniform(0, longest))
            servers = children(running.pid) if alive(running.pid) else []
            running.kill()
        all_gone(servers)
        there = kept(path)
        assert seen.items() <= there.items()
        assert is_sound(path)
        seen = there
    return seen


def asking(path: Path) -> list[str]:
    """How to go on with the run of a store, or how to begin it."""
    return ["--resume", "latest"] if kept_runs(path) else ["--grid", "tiny.toml"]


def test_the_command_line_killed_five_times_is_resumed_to_the_end(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "softmoe-bench.db"
    seen = kill_again_and_again(program, path, 5, 5.0)
    with program("run", *asking(path)) as running:
        out, err = running.communicate()
    assert running.returncode == 0, err
    assert "2 cases, 2 ok" in out
    assert seen.items() <= kept(path).items()
    assert len(kept(path)) == PROCESSES
    assert list((tmp_path / "scratch").glob("softmoe-bench-*")) == []


@pytest.mark.slow
def test_the_command_line_killed_two_hundred_times_loses_nothing(program: Program, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.replace("repeats = 3", "repeats = 1000"))
    assert kill_again_and_again(program, tmp_path / "softmoe-bench.db", 200, 8.0)


def test_two_runs_into_one_store_at_once(program: Program, tmp_path: Path) -> None:
    with program("run", "--grid", "tiny.toml") as one, program("run", "--grid", "tiny.toml") as other:
        (_, first), (_, second) = one.communicate(), other.communicate()
    assert [one.returncode, other.returncode] == [0, 0], first + second
    store = open_store(str(tmp_path / "softmoe-bench.db"))
    assert {(run.name, run.state) for run in store.runs()} == {("tiny-1", "complete"), ("tiny-2", "complete")}
    assert [len(store.outcomes(run.id)) for run in store.runs()] == [PROCESSES, PROCESSES]
    store.close()


def test_a_store_on_a_full_disk_is_one_line_and_keeps_what_is_committed(
    small_disk: Callable[[str], Path], program: Program, tmp_path: Path
) -> None:
    disk = small_disk("1m")
    path = disk / "s.db"
    with program("run", "--grid", "tiny.toml", "--store", str(path), "--repeats", "200") as running:
        wait_until(lambda: len(kept(path)) >= 3)
        fill(disk)
        _, err = running.communicate()
    assert running.returncode == 2
    assert err.splitlines()[-1].startswith(f"softmoe-bench: store {path}: ")
    assert err.endswith(
        f"; everything measured is kept, go on with: softmoe-bench run --resume tiny-1 --store {path}\n"
    )
    assert "Traceback" not in err
    (disk / "filler").unlink()
    there = kept(path)
    assert len(there) >= 3
    assert is_sound(path)
    del tmp_path


def test_a_disk_that_fills_up_during_a_write_leaves_no_half_outcome(small_disk: Callable[[str], Path]) -> None:
    path = small_disk("512k") / "s.db"
    store = open_store(str(path), create=True)
    asked = run()
    store.start_run(asked, [Planned(soft())])
    repeats = count(1)

    def fill_up() -> None:
        while True:
            store.add_outcome(asked.id, timed(soft(), next(repeats), 1.0, count=500))

    with pytest.raises(StoreError, match=r"disk is full|disk I/O error"):
        fill_up()
    there = store.outcomes(asked.id)
    store.close()
    assert [o.repeat for o in there] == list(range(1, next(repeats) - 1))
    assert all(len(o.samples("latency")) == 500 for o in there)
    assert is_sound(path)


def test_a_clock_that_is_set_back_changes_no_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's span is what its own steady clock says, whatever the time of day does meanwhile."""
    from bench.worker import main

    days = iter([1_000_000.0, 10.0])
    steady = iter([50.0, 52.5])
    monkeypatch.setattr("bench.worker.main.time.time", lambda: next(days))
    monkeypatch.setattr("bench.worker.main.time.monotonic", lambda: next(steady))
    monkeypatch.setattr("bench.worker.main.measure", lambda _task: {"status": "ok"})
    result = main.attempt(PROBE)  # type: ignore[arg-type]  # measure, which would look at the task, is replaced
    assert (result["started"], result["finished"]) == (1_000_000.0, 1_000_002.5)

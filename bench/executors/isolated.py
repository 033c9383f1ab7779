"""Runs each task in a fresh child process, forked from a server that has torch loaded: milliseconds, not seconds.

The result that a child leaves in its folder decides; its exit code only explains why there is none.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.errors import WorkerError
from bench.executors.base import Executor, Probe, ceilings, outcome
from bench.records import Outcome, Status
from bench.worker import entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.context import ForkServerProcess

    from bench.records import Ceiling, Task

START_SECONDS = 120.0
"""Longest wait for the server to load torch, which the first child has to bear."""

CALIBRATION_FACTOR = 20
"""A calibration is given up after so many times the seconds that one of its handful of ceilings should take."""

LOG_LINES = 12
"""How much of a worker's log is kept with an outcome that failed."""


class IsolatedExecutor(Executor):
    """A child per task, in a process group of its own that is killed at the time limit and then waited for."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._scratch = Path()

    def __enter__(self) -> Self:
        self._scratch = Path(tempfile.mkdtemp(prefix="softmoe-bench-"))
        self._context.set_forkserver_preload(list(entry.PRELOAD))
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    def probe(self, targets: Sequence[str]) -> Probe:
        """Returns what a worker can do here.

        Raises:
            WorkerError: no worker can be started, or it cannot import torch.
        """
        with self._folder("probe") as folder:
            code = self._in_child(entry.look, (list(targets), str(folder)), START_SECONDS)
            found = _read(folder)
            if found is None:
                words = _log(folder) or f"it ended with {_explain(code)}"
                raise WorkerError(f"a worker process cannot be used: {words.splitlines()[-1]}")
        return Probe(tuple(found["devices"]), found["comparable"], tuple(found["problems"]))

    def run(self, task: Task) -> Outcome:
        """Returns the outcome of one task."""
        started = time.time()
        killed_before = _kills_for_memory()
        with self._folder(f"{task.case.id}-{task.repeat}") as folder:
            code = self._in_child(entry.work, (task, str(folder)), task.settings.timeout)
            found = _read(folder)
            if found is not None:
                return outcome(task, found)
            log = _log(folder)
        if code is None:
            status, reason = Status.TIMEOUT, f"not finished after {task.settings.timeout:g} s (--timeout)"
        elif code == -signal.SIGKILL and _kills_for_memory() > killed_before:
            status, reason = Status.OUT_OF_MEMORY, "killed by the kernel, which had no memory left"
        else:
            status, reason = Status.CRASHED, f"the worker ended with {_explain(code)} and left no result"
        detail = f"{reason}\n{log}".strip()
        return Outcome(task.case.id, task.repeat, status, detail, started=started, finished=time.time())

    def calibrate(self, device: str, seconds: float) -> tuple[Ceiling, ...]:
        """Returns what a device reaches at best, measured by a child of its own.

        Raises:
            WorkerError: no worker can be started, or it ended without a result.
        """
        with self._folder(f"calibrate-{device}") as folder:
            limit = START_SECONDS + CALIBRATION_FACTOR * seconds
            code = self._in_child(entry.calibrate, (device, seconds, str(folder)), limit)
            found = _read(folder)
            if found is None:
                reason = f"not finished after {limit:g} s" if code is None else f"it ended with {_explain(code)}"
                words = _log(folder).splitlines()
                raise WorkerError(f"device {device} cannot be calibrated: {words[-1] if words else reason}")
        return ceilings(found)

    def _in_child(self, function: Callable[..., None], arguments: tuple[Any, ...], limit: float) -> int | None:
        """Runs a function in a child and returns its exit code, None where the limit ended it.

        Raises:
            WorkerError: the child cannot be started.
        """
        process = self._context.Process(target=function, args=arguments)
        try:
            try:
                with _quiet_numpy():
                    process.start()
            except (OSError, EOFError) as error:
                raise WorkerError(f"no worker process can be started: {error}") from error
            ended = wait([process.sentinel], limit)
            if ended:
                process.join()
                return process.exitcode
            return None
        finally:
            _end(process)

    @contextmanager
    def _folder(self, name: str) -> Iterator[Path]:
        """Yields an empty folder for one child, gone afterwards."""
        folder = self._scratch / name
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _quiet_numpy() -> Iterator[None]:
    """Keeps numpy's OpenBLAS from starting threads in the server, where the platform's torch does not use OpenBLAS."""
    name = "OPENBLAS_NUM_THREADS"
    if platform.machine() != "x86_64" or name in os.environ:
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]


def _end(process: ForkServerProcess) -> None:
    """Kills what is left of a child and its group, and waits for it."""
    if process.pid is None:  # it was never started
        return
    if process.is_alive():
        pid = process.pid
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # it has no group of its own yet
            with suppress(ProcessLookupError):
                process.kill()
    process.join()
    process.close()


def _read(folder: Path) -> dict[str, Any] | None:
    """Returns what a child left, None if it left nothing."""
    path = folder / entry.RESULT
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _log(folder: Path) -> str:
    """Returns the last lines that a child printed."""
    path = folder / entry.LOG
    if not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(lines[-LOG_LINES:])


def _explain(code: int | None) -> str:
    """Returns an exit code in words."""
    if code is not None and code < 0:
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"exit code {code}"


def _kills_for_memory(path: Path = Path("/proc/vmstat")) -> int:
    """Returns how many processes the kernel has killed for want of memory, 0 where it does not tell."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

"""Runs each task in a fresh child process, forked from a server that has torch loaded: milliseconds, not seconds.

The result that a child leaves in its folder decides; its exit code only explains why there is none.
"""

from __future__ import annotations

import errno
import json
import shutil
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from bench.errors import WorkerError
from bench.executors import base
from bench.executors.base import BrokenResultError, Executor, Probe
from bench.executors.fork_server import START_SECONDS, ForkServer, explain
from bench.executors.log import Log
from bench.executors.scratch import Scratch
from bench.interrupts import held
from bench.records import Outcome, Status
from bench.worker import entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.executors.fork_server import Interpreter
    from bench.records import Ceiling, Task

    Work = Callable[[Task, str], None]

MOST_RESULT_BYTES = 64 * 2**20
"""A result is read into memory; the largest honest one has some hundred thousand samples, 2 MB."""

CALIBRATION_FACTOR = 20
"""A calibration is given up after so many times the seconds that one of its handful of ceilings should take."""

ROOM = 4096
"""Bytes that a disk with any room has room for."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system calls a disk without room."""


@dataclass(frozen=True)
class Ending:
    """How a child ended: what it left (None: nothing), the end of its log, its exit code, whether in time."""

    left: bytes | None
    log: str
    code: int | None
    in_time: bool


class IsolatedExecutor(Executor):
    """A child per task, in a session of its own; when it has ended, or at the time limit, all it started is killed.

    `work` is what a child does with a task, and leaves an outcome of; `interpreter` where it does it.
    """

    def __init__(self, interpreter: Interpreter | None = None, work: Work = entry.work) -> None:
        self._server = ForkServer(interpreter)
        self._work = work
        self._scratch: Scratch | None = None

    def __enter__(self) -> Self:
        try:
            self._scratch = Scratch()
        except OSError as error:
            raise WorkerError(f"no scratch folder can be made ({error}): set TMPDIR to one that can") from error
        try:
            self._server.start()  # at once: it loads torch while the caller reads the grid and opens the store
        except WorkerError:
            self._scratch.remove()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        with held():
            self._server.stop()
            if self._scratch is not None:
                self._scratch.remove()

    def probe(self, targets: Sequence[str]) -> Probe:
        """Returns what a worker can do here.

        Raises:
            WorkerError: no worker can be started, or it cannot import torch.
        """
        found = self._ask("probe", entry.look, list(targets), START_SECONDS)
        return Probe(tuple(found["devices"]), found["comparable"], tuple(found["problems"]), found["gpu"])

    def locate(self, targets: Sequence[str]) -> dict[str, str]:
        """Returns the source files of the import targets that a worker can reach.

        Raises:
            WorkerError: no worker can be started.
        """
        found: dict[str, str] = self._ask("locate", entry.locate, list(targets), START_SECONDS)["files"]
        return found

    def run(self, task: Task) -> Outcome:
        """Returns the outcome of one task."""
        started, began = time.time(), time.monotonic()
        killed_before = kills_for_memory()
        ending = self._in_child(f"{task.case.id}-{task.repeat}", self._work, task, task.settings.timeout)
        if ending.left is not None:
            try:
                return base.outcome(task, _parse(ending.left))
            except BrokenResultError as error:
                status, reason = Status.CRASHED, f"the worker left a broken result: {error}"
        elif not ending.in_time:
            status, reason = Status.TIMEOUT, f"not finished after {task.settings.timeout:g} s (--timeout)"
        elif ending.code is None:
            status, reason = Status.CRASHED, "the server that forks the workers was killed, and the worker with it"
        elif ending.code == -signal.SIGKILL and kills_for_memory() > killed_before:
            status, reason = Status.OUT_OF_MEMORY, "killed by the kernel, which had no memory left"
        else:
            status, reason = Status.CRASHED, f"the worker ended with {explain(ending.code)} and left no result"
        detail = f"{reason}\n{ending.log}".strip()
        finished = started + (time.monotonic() - began)  # the clock may be set meanwhile
        return Outcome(task.case.id, task.repeat, status, detail, started=started, finished=finished)

    def calibrate(self, device: str, seconds: float) -> tuple[Ceiling, ...]:
        """Returns what a device reaches at best, measured by a child of its own.

        Raises:
            WorkerError: no worker can be started, or it ended without a result.
        """
        limit = START_SECONDS + CALIBRATION_FACTOR * seconds
        ending = self._in_child(f"calibrate-{device}", entry.calibrate, (device, seconds), limit)
        if ending.left is None:
            reason = f"it ended with {explain(ending.code)}" if ending.in_time else f"not finished after {limit:g} s"
            words = ending.log.splitlines()
            raise WorkerError(f"device {device} cannot be calibrated: {words[-1] if words else reason}")
        return base.ceilings(json.loads(ending.left))

    def _ask(self, name: str, function: Callable[[Any, str], None], argument: object, limit: float) -> dict[str, Any]:
        """Returns what a child that measures no task has to say.

        Raises:
            WorkerError: no worker can be started, or it says nothing.
        """
        ending = self._in_child(name, function, argument, limit)
        if ending.left is None:
            words = ending.log or f"it ended with {explain(ending.code)}"
            raise WorkerError(f"a worker process cannot be used: {words.splitlines()[-1]}")
        found: dict[str, Any] = json.loads(ending.left)
        return found

    def _in_child(self, name: str, function: Callable[[Any, str], None], argument: object, limit: float) -> Ending:
        """Runs a function of an argument and a folder in a child, and returns how it ended.

        Raises:
            WorkerError: it cannot be started, or has no room for its result.
        """
        with self._folder(name) as folder, Log(folder / entry.LOG) as log:
            in_time, code = False, None
            try:
                self._server.fork(function, (argument, str(folder)))
                in_time = self._server.wait(limit, log)
            finally:
                with held():
                    code = self._server.end()
            left = _left(folder / entry.RESULT)
            if left is None and code == entry.NO_ROOM:
                (folder / "room").write_bytes(bytes(ROOM))  # raises, unless a layer has only ended with this code
            return Ending(left, log.last_lines(), code, in_time)

    @contextmanager
    def _folder(self, name: str) -> Iterator[Path]:
        """Yields an empty folder for one child, gone afterwards.

        Raises:
            WorkerError: its disk is full.
        """
        if self._scratch is None:
            raise WorkerError("the executor was not entered: use it in a `with` block")
        folder = self._scratch.path / name
        try:
            folder.mkdir()
            yield folder
        except OSError as error:
            self._complain(error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _complain(self, error: OSError) -> NoReturn:
        """Raises what a user can act on where the scratch folder cannot be used."""
        assert self._scratch is not None  # noqa: S101  (for the type checker)
        folder = self._scratch.path.parent
        why = "has no room left: free some," if error.errno in FULL else f"cannot be used ({error.strerror}):"
        raise WorkerError(f"the scratch folder {folder} {why} or set TMPDIR to another folder") from error


def _left(path: Path) -> bytes | None:
    """Returns what a child left, None if nothing; of one that nobody would read, only the beginning."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_RESULT_BYTES + 1)
    except FileNotFoundError:
        return None


def _parse(left: bytes) -> object:
    """Returns what a child left as JSON has it.

    Raises:
        BrokenResultError: it is not JSON, not finite, or too large.
    """
    if len(left) > MOST_RESULT_BYTES:
        raise BrokenResultError(f"it has more than {MOST_RESULT_BYTES // 2**20} MiB")
    try:
        return json.loads(left, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BrokenResultError(str(error)) from None


def _refuse(word: str) -> NoReturn:
    """Refuses the numbers that JSON does not have: NaN and the infinities."""
    raise BrokenResultError(f"it holds {word}, expected finite numbers")


def kills_for_memory(path: Path = Path("/proc/vmstat")) -> int:
    """Returns how many processes the kernel has killed for want of memory, 0 where it does not tell."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

"""The parent's side of a contest: two live workers, each forked from a server of its own, told in turn what to do."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bench.executors import base
from bench.executors.fork_server import ForkServer, explain
from bench.executors.isolated import kills_for_memory
from bench.executors.log import Log
from bench.interrupts import held
from bench.records import Status
from bench.worker import entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.environment import Fact
    from bench.executors.fork_server import Interpreter
    from bench.records import Task


class LostError(Exception):
    """A side that says no more: how it ended, and why in words."""

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True)
class Ready:
    """What a side says when it is warm: seconds per call, calls in its shortest block, what it was measured with."""

    level: float
    iterations: int
    machine: Mapping[str, Fact] = field(default_factory=dict)


class Contestant:
    """One side: a fork server with at most one worker, and the pipes to talk to it."""

    def __init__(self, name: str, interpreter: Interpreter, folder: Path) -> None:
        self.name = name
        self._server = ForkServer(interpreter)
        self._folder = folder / name
        self._limit = 0.0
        self._log: Log | None = None
        self._asks: Connection | None = None
        self._answers: Connection | None = None
        self._killed_before = 0

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with held():
            self.leave()
            self._server.stop()

    def enter(self, task: Task, cores: tuple[int, ...] | None = None) -> Ready:
        """Returns how a side does once its worker is warm; it runs on the cores named, if any are.

        Raises:
            LostError: it cannot be measured.
            WorkerError: no worker can be started at all.
        """
        self._prepare(task.settings.timeout)
        self._server.fork(entry.compete, (task, str(self._folder), cores))
        said = self._hear()
        if not isinstance(said, dict) or "ready" not in said:
            raise LostError(Status.CRASHED, f"the worker said {base.shorten(said)} instead of being ready")
        return Ready(float(said["ready"]), int(said["iterations"]), said.get("machine", {}))

    def block(self, turn: int, iterations: int) -> float:
        """Returns seconds per call over one block.

        Raises:
            LostError: the worker is gone, or what it says is no time.
        """
        assert self._asks is not None  # noqa: S101  (for the type checker)
        self._asks.send((turn, iterations))
        said = self._hear()
        if not isinstance(said, float) or not 0 < said < float("inf"):
            raise LostError(Status.CRASHED, f"the worker said {base.shorten(said)} instead of how long a block took")
        return said

    def output(self) -> np.ndarray[Any, Any] | None:
        """Returns the first numbers of the layer's output, None where they were not left."""
        try:
            found: np.ndarray[Any, Any] = np.load(self._folder / entry.OUTPUT, allow_pickle=False)
        except (OSError, ValueError):
            return None
        return found

    def leave(self) -> None:
        """Ends the worker and forgets its folder."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _prepare(self, limit: float) -> None:
        """Makes an empty folder with its pipes; both ends are held open here, so that neither is ever at its end."""
        self.leave()
        self._folder.mkdir()
        self._limit = limit
        self._killed_before = kills_for_memory()
        self._log = Log(self._folder / entry.LOG)
        for name in (entry.ASK, entry.ANSWER):
            os.mkfifo(self._folder / name)
        self._asks = Connection(os.open(self._folder / entry.ASK, os.O_RDWR), readable=False)
        self._answers = Connection(os.open(self._folder / entry.ANSWER, os.O_RDWR), writable=False)

    def _hear(self) -> object:
        """Returns what the worker says next.

        Raises:
            LostError: it failed, has ended or says nothing in time.
        """
        assert self._answers is not None  # noqa: S101  (for the type checker)
        assert self._log is not None  # noqa: S101
        try:
            said = self._server.hear(self._answers, self._limit, self._log)
        except TimeoutError:
            raise LostError(Status.TIMEOUT, f"no answer after {self._limit:g} s (--timeout)") from None
        except EOFError:
            raise self._explain() from None
        if isinstance(said, dict) and "failed" in said:
            raise LostError(Status(said["failed"]), base.printable(str(said["detail"])))
        return said

    def _explain(self) -> LostError:
        """Returns how a worker that ended without a word has ended."""
        code = self._server.end()
        words = self._log.last_lines() if self._log is not None else ""
        if code == -9 and kills_for_memory() > self._killed_before:
            return LostError(Status.OUT_OF_MEMORY, "killed by the kernel, which had no memory left")
        ended = "its server was killed" if code is None else f"the worker ended with {explain(code)}"
        return LostError(Status.CRASHED, f"{ended}\n{words}".strip())

    def _end(self) -> None:
        """Ends the worker if there is one, and closes what was open to it."""
        self._server.end()
        if self._log is not None:
            self._log.__exit__()
        for connection in (self._asks, self._answers):
            if connection is not None:
                with suppress(OSError):
                    connection.close()
        self._log = self._asks = self._answers = None

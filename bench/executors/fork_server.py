"""The parent's side of the fork server: starts it, asks it for a worker, waits, and has the worker ended."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.executors.log import Log

START_SECONDS = 120.0
"""Longest wait for the server to load torch, which the first worker has to bear."""

END_SECONDS = 60.0
"""Longest wait for a killed worker: one in the middle of a driver's call ends only when that returns."""

EXIT_SECONDS = 2.0
"""How long a server may take to end what it runs, and then itself, once nobody asks it any more; then it is killed."""

TRIES = 2
"""A server that was killed between two workers is started again, once."""


FOREIGN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("bench", {init!r}, submodule_search_locations=[{folder!r}])
module = importlib.util.module_from_spec(spec)
sys.modules["bench"] = module
spec.loader.exec_module(module)
{serve}
"""
"""What the Python of another environment runs to get `bench`, and nothing else, from here."""


@dataclass(frozen=True)
class Interpreter:
    """Where workers find what they measure: a Python, the folder they work in, folders searched before all others.

    In another environment than ours, `bench` alone is taken from here; everything else, torch too, is its own.
    """

    python: str = sys.executable
    folder: str | None = None
    first: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it is the Python of this process."""
        return self.python == sys.executable

    def program(self, descriptor: int) -> str:
        """Returns what its Python has to run."""
        serve = f"from bench.worker.server import serve; serve({descriptor}, {list(self.first)!r})"
        if self.is_ours:
            return f"import sys; sys.path[:] = {sys.path!r}; {serve}"
        here = Path(bench.__file__).parent
        return FOREIGN.format(init=str(here / "__init__.py"), folder=str(here), serve=serve)


class ForkServer:
    """A process with torch loaded that forks one worker at a time; see `bench.worker.server`."""

    def __init__(self, interpreter: Interpreter | None = None) -> None:
        self._interpreter = interpreter or Interpreter()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self.worker: int | None = None
        self._asked = False  # for a worker whose process id is not known yet

    @property
    def pid(self) -> int | None:
        """The server's process id, None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts the server, which loads torch while its user goes on.

        Raises:
            WorkerError: it cannot be started.
        """
        ours, its = Pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603  (this very Python, or one that the user has named)
                [self._interpreter.python, "-c", self._interpreter.program(its.fileno())],
                cwd=self._interpreter.folder,
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # ours carries the answer
                start_new_session=True,  # a Ctrl-C in the terminal is for the parent alone
                env=_environment(),
            )
        except OSError as error:
            ours.close()
            raise WorkerError(f"no worker process can be started: {error}") from error
        finally:
            its.close()
        self._connection = ours

    def fork(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Starts a worker that calls a function, which it imports by its name.

        Raises:
            WorkerError: there can be none.
        """
        code: int | None = None
        for _ in range(TRIES):
            if self._connection is None:
                self.start()
            try:
                answer = self._request(function, arguments)
            except (OSError, EOFError):
                code = self.stop()
                continue
            except BaseException:
                self.stop()
                raise
            self.worker, self._asked = (answer if isinstance(answer, int) else None), False
            if self.worker is not None:
                return
            raise WorkerError(f"no worker process can be started: {answer}")
        raise WorkerError(f"no worker process can be started: the server that forks them ended with {explain(code)}")

    def _request(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> int | str:
        """Returns the server's answer to a request."""
        assert self._connection is not None  # noqa: S101  (for the type checker)
        self._asked = True
        self._connection.send((function, arguments))
        if not self._connection.poll(START_SECONDS):
            raise WorkerError(f"no worker process can be started: loading torch took more than {START_SECONDS:g} s")
        answer: int | str = self._connection.recv()
        return answer

    def wait(self, limit: float, log: Log) -> bool:
        """Waits until the worker has ended and returns whether it did so in time; reads its log meanwhile."""
        assert self._connection is not None  # noqa: S101  (for the type checker)
        deadline = time.monotonic() + limit
        while True:
            ready = wait([self._connection, log.fileno()], max(0.0, deadline - time.monotonic()))
            if log.fileno() in ready:
                log.read()
            if self._connection in ready:
                return True
            if time.monotonic() >= deadline:
                return False

    def hear(self, answers: Connection, limit: float, log: Log) -> object:
        """Returns what the worker says on a connection; reads its log meanwhile.

        Raises:
            TimeoutError: it says nothing in time.
            EOFError: it has ended, and said nothing before.
        """
        assert self._connection is not None  # noqa: S101  (for the type checker)
        deadline = time.monotonic() + limit
        while True:
            left = deadline - time.monotonic()
            ready = wait([answers, self._connection, log.fileno()], max(0.0, left))
            if answers in ready:
                return answers.recv()
            if log.fileno() in ready:
                log.read()
            if self._connection in ready:
                raise EOFError
            if left <= 0:
                raise TimeoutError

    def end(self) -> int | None:
        """Kills what is left of the worker and returns its exit code, None where the server itself had ended.

        Raises:
            WorkerError: it cannot be killed.
        """
        worker, self.worker = self.worker, None
        if worker is None or self._connection is None:
            return None
        try:
            if not self._connection.poll():
                self._connection.send(None)
            if self._connection.poll(END_SECONDS):
                code: int = self._connection.recv()
                return code
        except (OSError, EOFError):
            self.stop()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(worker, signal.SIGKILL)  # it died with the server, but not what it had started
            return None
        self.stop()
        raise WorkerError(f"worker process {worker} was killed and is still there after {END_SECONDS:g} s")

    def stop(self) -> int | None:
        """Ends the server, first of all what it runs, and returns its exit code.

        A worker that nobody knows of, because its start was interrupted, is ended by the server itself.
        """
        if self.worker is not None:
            self.end()
        process, self._process = self._process, None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if process is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            return process.wait(EXIT_SECONDS if self._asked else 0)
        process.kill()
        return process.wait()


def explain(code: int | None) -> str:
    """Returns an exit code in words."""
    if code is not None and code < 0:
        known = {int(number): number.name for number in signal.Signals}
        return f"signal {-code} ({known[-code]})" if -code in known else f"signal {-code}"
    return f"exit code {code}"


def _environment() -> dict[str, str]:
    """Returns the environment of the server, in which numpy's OpenBLAS starts no thread where torch does not use it."""
    quiet = {"OPENBLAS_NUM_THREADS": "1"} if platform.machine() == "x86_64" else {}
    return {**quiet, **os.environ}

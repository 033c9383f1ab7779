"""The fork server: has torch loaded, forks a worker for each request, and leaves nothing of it when it has ended.

One worker at a time. Orphans of a worker become children of the server (PR_SET_CHILD_SUBREAPER), so that whatever is
left of one is found among its children, whichever group or session it has moved to. The server itself never touches
CUDA and starts no thread: both would be broken in every fork.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PRELOAD = ("bench.worker.main", "fvcore.nn", "torch._dynamo")
"""What is imported once, torch with it. The others take a second each, and every inspection needs them: the first
operator that a dispatch mode of torch sees imports torch._dynamo."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Options of prctl; source: linux/prctl.h."""


def serve(descriptor: int, first: Sequence[str] = ()) -> NoReturn:
    """Serves requests on a connection until whoever asks has gone; workers search these folders before all others.

    A request is a function with its arguments. The answers are the worker's process id, or in words why there is none,
    and when nothing of it is left its exit code. Anything said in between means that the worker's time is up.
    """
    requests = Connection(descriptor)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler nothing is written to the wake-up pipe
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for module in PRELOAD:
        with suppress(Exception):  # a worker meets the same error, and reports it
            importlib.import_module(module)
    sys.path[:0] = first  # only now: what belongs to the harness is loaded, whatever these folders hold
    gc.collect()
    gc.freeze()  # so that a worker's collections neither walk through torch nor copy its pages
    with suppress(EOFError, OSError):
        while True:
            if (request := requests.recv()) is not None:  # None: the end of a worker that had ended by itself
                _run(requests, woken, *request)
    os._exit(0)


def _run(requests: Connection, woken: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Runs one worker from its fork to the end of everything that it has started."""
    server = os.getpid()
    try:
        worker = os.fork()
    except OSError as error:
        requests.send(str(error))
        return
    if worker == 0:
        os.close(signal.set_wakeup_fd(-1))
        os.close(woken)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        requests.close()
        _work(server, function, arguments)
    try:
        requests.send(worker)
        while os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if requests in wait([requests, woken]):
                requests.recv()
                break
            with suppress(BlockingIOError):
                os.read(woken, 4096)
    finally:
        code = _end(worker)
    requests.send(code)


def _work(server: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> NoReturn:
    """Is the worker: a session of its own that dies with the server and is first to go when memory runs out.

    It ends without torch's finalisers, which take long and may call a device that is no longer usable.
    """
    code = 1
    try:
        os.setsid()
        _die_with_parent(server)
        os.register_at_fork(before=_Fork.before, after_in_child=_Fork.after)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
        function(*arguments)
        code = 0
    except BaseException:  # noqa: BLE001  (the last words of a worker, for its log)
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(code)


class _Fork:
    """Lets what a worker forks die with it; only from its main thread, because Linux means the parent *thread*."""

    _from_main = False
    _parent = 0

    @classmethod
    def before(cls) -> None:
        """Notes who forks."""
        cls._from_main = threading.current_thread() is threading.main_thread()
        cls._parent = os.getpid()

    @classmethod
    def after(cls) -> None:
        """Ties the new process to the one that forked it."""
        if cls._from_main:
            _die_with_parent(cls._parent)


def _die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent dies, which it may have done already."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _end(worker: int) -> int:
    """Kills what is left of a worker and returns its exit code; nobody else can have its process id before that."""
    _kill(worker)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    with suppress(ChildProcessError):  # no child is left
        while True:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):  # there is one, and it has not ended
                orphans = [child.pid for child in psutil.Process().children()]
                for orphan in orphans:
                    _kill(orphan)
                os.waitpid(-1, 0 if orphans else os.WNOHANG)
    return code


def _kill(child: int) -> None:
    """Kills a child that was not waited for yet, with its group unless that is still the server's own."""
    with suppress(ProcessLookupError, PermissionError):
        group = os.getpgid(child)
        if group != os.getpgrp():
            os.killpg(group, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.kill(child, signal.SIGKILL)


def _prctl(option: int, argument: int) -> None:
    """Asks Linux for something about this process; elsewhere it does not exist."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument)

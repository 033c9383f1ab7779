"""What a worker does, from its first step to the result that it leaves; imports nothing heavy before it is in one."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.records import Task

RESULT = "result.json"
LOG = "log"
ASK, ANSWER = "ask", "answer"
"""Pipes with a name through which a worker in a contest is told what to do, and says what came of it."""

OUTPUT = "output.npy"

NO_ROOM = 74
"""Exit code of a worker that cannot write its result for want of disk space; source: sysexits.h, EX_IOERR."""


def work(task: Task, folder: str) -> None:
    """Measures one task and leaves the outcome in the folder, whole or not at all."""
    _begin(task, Path(folder))
    from bench.worker import main  # noqa: PLC0415  (torch)

    result = main.attempt(task)
    _leave(result, Path(folder))


def weigh(task: Task, folder: str) -> None:
    """Leaves in the folder what of a task can be compared exactly: parameters, memory, FLOPs."""
    _begin(task, Path(folder))
    from bench.worker import main  # noqa: PLC0415  (torch)

    _leave(main.attempt(task, passes=main.WEIGH), Path(folder))


def compete(task: Task, folder: str, cores: tuple[int, ...] | None) -> None:
    """Does blocks of calls on command until nobody wants any more; see `bench.worker.contest`."""
    _begin(task, Path(folder))
    from bench.worker import contest  # noqa: PLC0415  (torch)

    contest.compete(task, Path(folder), cores)


def look(targets: list[str], folder: str) -> None:
    """Leaves in the folder what this machine's torch can do and which import targets cannot be reached."""
    _become_own(Path(folder))
    from bench.worker import facts  # noqa: PLC0415  (torch)

    _leave(facts.probe(targets), Path(folder))


def locate(targets: list[str], folder: str) -> None:
    """Leaves in the folder the source files of import targets, as far as they can be reached."""
    _become_own(Path(folder))
    from bench.worker import facts  # noqa: PLC0415  (torch)

    _leave({"files": facts.files(targets)}, Path(folder))


def calibrate(asked: tuple[str, float], folder: str) -> None:
    """Leaves in the folder what a device reaches at best, each figure taken in about so many seconds."""
    _become_own(Path(folder))
    from bench.worker import ceilings  # noqa: PLC0415  (torch)

    _leave(ceilings.measure(*asked), Path(folder))


def _begin(task: Task, folder: Path) -> None:
    """Makes ready for a task: a process of its own, limited to most of the memory that is free."""
    _become_own(folder)
    from bench.worker import headroom, main  # noqa: F401, PLC0415  (torch, which comes before the limit)

    if task.case["device"] == "cpu":  # the address space of a CUDA process says nothing about its memory
        headroom.limit()


def _become_own(folder: Path) -> None:
    """Lets whoever interrupts this process end it, and what it prints go to the pipe in its folder."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    log = os.open(folder / LOG, os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.stdout, sys.stderr = (
        os.fdopen(1, "w", buffering=1, closefd=False),
        os.fdopen(2, "w", buffering=1, closefd=False),
    )


def _leave(result: dict[str, object], folder: Path) -> None:
    """Saves elsewhere, then renames: a result is there whole or not at all."""
    _close_streams()
    part = folder / f"{RESULT}.part"
    try:
        part.write_text(_text(result), encoding="utf-8")
        part.replace(folder / RESULT)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os._exit(NO_ROOM)


def _text(result: dict[str, object]) -> str:
    """Returns a result as JSON; one that JSON has no words for is itself a failure, and says which value it is."""
    try:
        return json.dumps(result, allow_nan=False)
    except (TypeError, ValueError) as error:
        kept = {name: result[name] for name in ("started", "finished") if name in result}
        return json.dumps({"status": "error", "detail": f"the result cannot be written down: {error}", **kept})


def _close_streams() -> None:
    """Ends the log, and keeps its numbers 1 and 2 from being given to the result: a layer may have closed them."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # whatever a layer has put in its place
            stream.flush()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)

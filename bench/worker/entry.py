"""Where a child process starts: imports nothing heavy itself, so that the parent can name these functions."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.records import Task

RESULT = "result.json"
LOG = "log.txt"
PRELOAD = ("bench.worker.main", "fvcore.nn")
"""What the fork server imports once, torch with it; fvcore takes a second, and every inspection needs it."""


def work(task: Task, folder: str) -> None:
    """Measures one task and leaves the outcome in the folder, whole or not at all."""
    if not Path(folder).is_dir():  # whoever asked was interrupted while asking, and has gone
        return
    _become_own(Path(folder))
    from bench.worker import main  # noqa: PLC0415  (torch)

    _leave(main.attempt(task), Path(folder))


def look(targets: list[str], folder: str) -> None:
    """Leaves in the folder what this machine's torch can do and which import targets cannot be reached."""
    _become_own(Path(folder))
    from bench.worker import facts  # noqa: PLC0415  (torch)

    _leave(facts.probe(targets), Path(folder))


def calibrate(device: str, seconds: float, folder: str) -> None:
    """Leaves in the folder what a device reaches at best."""
    _become_own(Path(folder))
    from bench.worker import ceilings  # noqa: PLC0415  (torch)

    _leave(ceilings.measure(device, seconds), Path(folder))


def _become_own(folder: Path) -> None:
    """Makes the process a group of its own that dies with its parent, is first to go when memory runs out, and logs."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = (
        os.fdopen(1, "w", buffering=1, closefd=False),
        os.fdopen(2, "w", buffering=1, closefd=False),
    )
    _let_go_of_server()
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _let_go_of_server() -> None:
    """Closes the pipe by which the fork server knows that its user lives; held here, it would outlive a killed user."""
    alive = getattr(forkserver._forkserver, "_forkserver_alive_fd", None)  # noqa: SLF001  (no public way to it)
    if alive is not None:
        with suppress(OSError):
            os.close(alive)


def _leave(result: dict[str, object], folder: Path) -> None:
    """Saves elsewhere, then renames: a result is there whole or not at all."""
    part = folder / f"{RESULT}.part"
    part.write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
    part.replace(folder / RESULT)

"""One task, start to end, inside a worker: whatever a layer does wrong becomes a status."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, Any

import torch

from bench.records import INSPECTION, Flag, Observation, Status
from bench.worker import (
    accuracy,
    breakdown,
    energy,
    facts,
    flops,
    headroom,
    launch,
    memory,
    routing,
    saved,
    studies,
    timing,
)
from bench.worker.finding import Finding
from bench.worker.subject import UnsupportedError, build

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.records import Task
    from bench.worker.subject import Subject

    Pass = Callable[[Subject, Task], Finding]

INSPECT = (
    launch.observe,
    memory.observe,
    saved.observe,
    routing.observe,
    flops.observe,
    accuracy.observe,
    energy.observe,
    breakdown.observe,
)
"""What the first process of a case looks at, each in its own pass: memory on a fresh heap; energy late, it heats, and
only shares come after it."""


WEIGH = (memory.observe, saved.observe, flops.observe)
"""The passes of an inspection whose figures have no noise: what two sides are held against each other in exactly."""


NO_MEMORY = ("can't allocate memory", "bad_alloc", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""How torch's CPU allocator, the C++ library, the CUDA driver and cuBLAS say that memory ran out."""

CUDA_ERROR = "CUDA error:"
"""How torch begins the text of an error of the CUDA runtime, which most often loses the context."""

LOST: list[BaseException] = []
"""Errors after which this process can call CUDA no more; kept, so that nothing that they hold on it is freed."""


class LostContextError(RuntimeError):
    """Nothing can be measured on a device whose context an earlier case of this process has lost."""


def attempt(task: Task, *, interruptible: bool = False, passes: Sequence[Pass] | None = None) -> dict[str, Any]:
    """Returns the outcome of a task as plain data, whatever happens in it.

    Where `interruptible`, KeyboardInterrupt is the user's and raised; in a worker only a layer can have raised it.
    """
    started, began = time.time(), time.monotonic()
    try:
        result = measure(task, passes)
    except BaseException as error:  # the one place: whatever a layer raises is an outcome, not our failure
        if interruptible and isinstance(error, KeyboardInterrupt):
            raise
        result = failure(error)
    finished = started + (time.monotonic() - began)  # the clock may be set meanwhile
    return {"detail": "", **result, "started": started, "finished": finished}


def failure(error: BaseException) -> dict[str, Any]:
    """Returns the status and the words for what a layer has raised; nothing here calls a device."""
    if isinstance(error, UnsupportedError):
        return {"status": Status.UNSUPPORTED, "detail": str(error)}
    if isinstance(error, LostContextError):
        return {"status": Status.ERROR, "detail": str(error)}
    words = str(error) if isinstance(error, RuntimeError) else ""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(known in words for known in NO_MEMORY):
        return {"status": Status.OUT_OF_MEMORY, "detail": _first_line(error) + headroom.words()}
    detail = "".join(traceback.format_exception(error, limit=-4))
    if isinstance(error, torch.AcceleratorError) or CUDA_ERROR in words:
        LOST.append(error)
        detail += f"{_first_line(error)} (the CUDA context of this process is lost; a case after it needs a fresh one)"
    return {"status": Status.ERROR, "detail": detail}


def measure(task: Task, passes: Sequence[Pass] | None = None) -> dict[str, Any]:
    """Returns status, observations, flags and facts of a task that went well; without `passes`, those of its repeat."""
    if LOST and task.case["device"] == "cuda":
        raise LostContextError(
            f"an earlier case of this process lost its CUDA context ({_first_line(LOST[0])}), and nothing can be"
            " measured on the device after it: use --executor isolated, where each case has a process of its own"
        )
    if (name := task.case.get("study")) is not None:
        return _found(studies.TABLE[str(name)](task))
    before = memory.resident()
    kept = task.repeat != INSPECTION and memory.keep_freed()
    subject = build(task)
    if passes is None:
        passes = INSPECT if task.repeat == INSPECTION else (timing.observe,)
    observations: list[Observation] = []
    flags: list[Flag] = []
    found: dict[str, Any] = {"resident_at_start": before, "freed_memory_kept": kept}
    for look in passes:
        finding = look(subject, task)
        observations += finding.observations
        flags += finding.flags
        found |= finding.facts
        memory.forget(subject)
    return _found(Finding(tuple(observations), tuple(flags), found | facts.arithmetic(subject)))


def _found(finding: Finding) -> dict[str, Any]:
    """Returns what went well as plain data."""
    return {
        "status": Status.OK,
        "flags": [{"code": flag.code, "detail": flag.detail} for flag in finding.flags],
        "observations": [
            {"metric": o.metric, "unit": o.unit, "samples": list(o.samples)} for o in finding.observations
        ],
        "facts": finding.facts,
    }


def _first_line(error: BaseException) -> str:
    """Returns an error's first line, or its name where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]

"""One task, start to end, inside a worker: whatever a layer does wrong becomes a status."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, Any

import torch

from bench.records import INSPECTION, Flag, Observation, Status
from bench.worker import accuracy, facts, flops, memory, routing, saved, timing
from bench.worker.subject import UnsupportedError, build

if TYPE_CHECKING:
    from bench.records import Task
    from bench.worker.finding import Finding

INSPECT = (memory.observe, saved.observe, routing.observe, flops.observe, accuracy.observe)
"""What the first process of a case looks at, each in its own pass; memory first, while the heap is fresh."""


def attempt(task: Task) -> dict[str, Any]:
    """Returns the outcome of a task as plain data, whatever happens in it."""
    started = time.time()
    try:
        result = measure(task)
    except UnsupportedError as error:
        result = {"status": Status.UNSUPPORTED, "detail": str(error)}
    except (MemoryError, torch.OutOfMemoryError) as error:
        result = {"status": Status.OUT_OF_MEMORY, "detail": _first_line(error)}
    except Exception as error:  # noqa: BLE001  (the one place: a failing layer is an outcome, not our failure)
        out_of_memory = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
        status = Status.OUT_OF_MEMORY if out_of_memory else Status.ERROR
        detail = _first_line(error) if out_of_memory else traceback.format_exc(limit=-4)
        result = {"status": status, "detail": detail}
    return {"detail": "", **result, "started": started, "finished": time.time()}


def measure(task: Task) -> dict[str, Any]:
    """Returns status, observations, flags and facts of a task that went well."""
    before = memory.resident()
    kept = task.repeat != INSPECTION and memory.keep_freed()
    subject = build(task)
    passes = INSPECT if task.repeat == INSPECTION else (timing.observe,)
    observations: list[Observation] = []
    flags: list[Flag] = []
    found: dict[str, Any] = {"resident_at_start": before, "freed_memory_kept": kept}
    for look in passes:
        finding: Finding = look(subject, task)
        observations += finding.observations
        flags += finding.flags
        found |= finding.facts
        memory.forget(subject)
    return {
        "status": Status.OK,
        "flags": [{"code": flag.code, "detail": flag.detail} for flag in flags],
        "observations": [{"metric": o.metric, "unit": o.unit, "samples": list(o.samples)} for o in observations],
        "facts": found | facts.arithmetic(subject),
    }


def _first_line(error: BaseException) -> str:
    """Returns an error's first line, or its name where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]

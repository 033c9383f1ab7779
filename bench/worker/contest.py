"""One side of a contest: a live process that times short blocks of calls, one whenever it is told to."""

from __future__ import annotations

import gc
import os
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.worker import entry, facts, main, memory
from bench.worker.clock import clock_for
from bench.worker.launch import ready
from bench.worker.sampling import again, warm_up
from bench.worker.subject import build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from bench.records import Task
    from bench.worker.clock import Clock

WARM_UP = 0.25
"""Most seconds until a side's level is taken as it is: both sides get the same, and what is compared comes later."""

REWARM = 2e-3
"""Time for calls that are not timed before each block. Both sides need them alike, and what they cost in rounds costs
more than what they fetch: 10 ms of them left a pair half as precise."""

MOST_OUTPUT = 2**18
"""Numbers of a side's output that are held against the other's."""

MOST_WORDS = 2000
"""Characters of an error's end that are passed on: a message must fit a pipe in one piece."""


def compete(task: Task, folder: Path, cores: tuple[int, ...] | None) -> None:
    """Builds and warms a side up on its cores, says how long a call takes, then times blocks until told to stop.

    Said are mappings: `ready` with the seconds per call, then one number a block, or
    `failed` with status and detail, after which nothing follows.
    """
    asks = Connection(os.open(folder / entry.ASK, os.O_RDONLY), writable=False)
    answers = Connection(os.open(folder / entry.ANSWER, os.O_WRONLY), readable=False)
    try:
        if cores is not None:
            os.sched_setaffinity(0, cores)
        _serve(task, folder, asks, answers)
    except BaseException as error:  # noqa: BLE001  (whatever a layer raises is the side's answer)
        found = main.failure(error)
        answers.send({"failed": str(found["status"]), "detail": str(found["detail"])[-MOST_WORDS:]})


def _serve(task: Task, folder: Path, asks: Connection, answers: Connection) -> None:
    """Does what is asked for; whatever goes wrong is raised."""
    kept = memory.keep_freed()
    subject = build(task)
    call, clock = ready(subject), clock_for(subject.device)
    np.save(folder / entry.OUTPUT, _numbers(subject.call(0)))
    gc.collect()
    gc.disable()
    prepare = clock.flush if subject.cold else _nothing
    warm = warm_up(call, clock, prepare, WARM_UP, cold=subject.cold, now=time.perf_counter)
    answers.send(
        {
            "ready": warm.level,
            "iterations": warm.iterations,
            "freed_memory_kept": kept,
            "machine": facts.comparable(),
        }
    )
    while (asked := asks.recv()) is not None:
        answers.send(_block(call, clock, prepare if subject.cold else None, *asked))


def _block(
    call: Callable[[int], object], clock: Clock, flush: Callable[[], None] | None, turn: int, iterations: int
) -> float:
    """Returns seconds per call over a block; what the other side drove out of warm caches is fetched again before."""
    if flush is not None:
        flush()
        return clock.block(call, turn, iterations)
    began = time.perf_counter()
    call(turn)
    for further in range(1, again(time.perf_counter() - began, REWARM)):
        call(turn + further)
    return clock.block(call, turn, iterations)


def _numbers(output: torch.Tensor) -> np.ndarray[Any, Any]:
    """Returns the first numbers of an output in float32."""
    found: np.ndarray[Any, Any] = output.detach().reshape(-1)[:MOST_OUTPUT].float().cpu().numpy()
    return found


def _nothing() -> None:
    """Leaves the caches as they are."""

"""How much energy a call takes: whole calls back to back, from one step of an energy counter to a later one.

A pass of its own, for nothing may be timed beside it. The counter is of the whole device: idle power is part of the
figure, and stored apart. Windows take a second and more because some drivers sample power a quarter of the time only
(Yang, Adamek, Armour, arXiv 2312.02741, 2023); they end where the counter steps, so no two lie alike in its period.
"""

from __future__ import annotations

import itertools
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import conditions, readings
from bench.energy import NvmlCounter, RaplCounter, cpu_counter, gpu_counter
from bench.records import Flag, Observation
from bench.watch import GpuWatch
from bench.worker import device
from bench.worker.finding import Finding
from bench.worker.launch import graphed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from bench.energy import Counter
    from bench.records import Task
    from bench.worker.subject import Subject

LONGEST_SHARE = 0.1
"""Share of a process' timeout that the pass may take: of slow calls there are fewer windows, or none."""

WINDOWS = 3
WINDOW = 1.0
"""Seconds that a window takes at least; counters move in steps of up to 0.1 s."""

IDLE = 0.5
"""Seconds for which the idle device is looked at."""

PATIENCE = 1.0
"""Seconds after which a counter that has not moved counts nothing."""

BATCH = 0.01
"""Seconds of calls between two looks at the counter: a window is known to one batch at either end."""

SHARED = {NvmlCounter.name: "other_gpu_processes", RaplCounter.name: "loaded"}
"""Which caveat of a measurement says that a counter counts others, too."""


@dataclass(frozen=True)
class Window:
    """Whole calls between two steps of a counter: how many, from when to when, joules."""

    calls: int
    start: float
    end: float
    joules: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


def observe(subject: Subject, task: Task) -> Finding:
    """Returns joules and seconds of one call, window by window; nothing, and no call, where nothing counts energy."""
    limit = LONGEST_SHARE * task.settings.timeout
    with _counter(subject.device) as counter:
        return Finding() if counter is None else look(subject, counter, _watch(subject), limit=limit)


def look(
    subject: Subject,
    counter: Counter,
    watch: GpuWatch,
    *,
    limit: float = math.inf,
    now: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Finding:
    """Returns what a counter says of a subject, and whether others used the device meanwhile."""
    idle = idle_power(counter, now=now, sleep=sleep)
    if idle is None:
        return Finding()
    before = conditions.read()
    with watch:
        found = windows(_batches(subject), counter, count=WINDOWS, seconds=WINDOW, limit=limit, now=now)
    spans = [(window.start, window.end) for window in found]
    raised = (*conditions.flags(before, conditions.read()), *readings.flags(watch.watched, spans))
    if not found:
        return Finding()
    return Finding(
        observations=(
            Observation("energy", "J", tuple(window.joules / window.calls for window in found)),
            Observation("energy_time", "s", tuple(window.seconds / window.calls for window in found)),
        ),
        flags=tuple(Flag("energy_shared", flag.detail) for flag in raised if flag.code == SHARED[counter.name]),
        facts={"energy_counter": counter.name, "idle_power_w": idle, "energy_calls": [w.calls for w in found]},
    )


def idle_power(counter: Counter, *, now: Callable[[], float], sleep: Callable[[float], None]) -> float | None:
    """Returns the watts of a device that is given no work, None where its counter stands still."""
    found = windows(lambda _calls: sleep(BATCH), counter, count=1, seconds=IDLE, now=now)
    return found[0].joules / found[0].seconds if found else None


def windows(
    run: Callable[[int], None],
    counter: Counter,
    *,
    count: int,
    seconds: float,
    now: Callable[[], float],
    limit: float = math.inf,
) -> tuple[Window, ...]:
    """Returns windows of at least so many seconds; fewer than asked for where the counter stops or is set back.

    No calls begin when `limit` seconds have passed.

    `run` makes that many calls and waits until the device has done them. The counter is looked at after each batch of
    calls, and windows begin and end where it was seen to move.
    """
    found: list[Window] = []
    calls, batch = 0, 1
    begin: tuple[int, float, float] | None = None
    level, moved = counter.joules(), now()
    end = moved + limit
    while level is not None and len(found) < count and (started := now()) < end:
        run(batch)
        calls += batch
        at, joules = now(), counter.joules()
        if joules is None or joules < level or (joules == level and at - moved > PATIENCE):
            break
        # a first call loads code: the batch grows by no more than ten times at once
        batch = max(1, min(10 * batch, int(batch * BATCH / max(at - started, 1e-9))))
        if joules == level:
            continue
        level, moved = joules, at
        if begin is not None and at - begin[1] < seconds:
            continue
        if begin is not None:
            found.append(Window(calls - begin[0], begin[1], at, joules - begin[2]))
        begin = (calls, at, joules)
    return tuple(found)


@contextmanager
def _counter(on: torch.device) -> Iterator[Counter | None]:
    """Gives the counter of the kind of device that a subject runs on."""
    uuid = device.uuid(on)
    if uuid is None:
        yield cpu_counter()
        return
    with gpu_counter(uuid) as counter:
        yield counter


def _watch(subject: Subject) -> GpuWatch:
    """Returns the watch of a subject's device."""
    return GpuWatch(device.uuid(subject.device), before=subject.processes_before)


def _batches(subject: Subject) -> Callable[[int], None]:
    """Returns what makes so many calls, launched as the case asks, with turns that go on, and waits for them."""
    turns, call = itertools.count(), graphed(subject) if subject.launch == "graph" else subject.call

    def run(calls: int) -> None:
        for turn in itertools.islice(turns, calls):
            call(turn)
        subject.synchronize()

    return run

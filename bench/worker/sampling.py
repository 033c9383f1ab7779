"""When to measure and when to stop: calibrated blocks, warm-up on the same path, samples until the median is known."""

from __future__ import annotations

import math
import resource
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.stats import precision
from bench.worker.subject import ROTATION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.records import Settings
    from bench.worker.clock import Clock

WARM_UP_SHARE = 0.5
"""Warm-up takes at most this share of the time limit."""

WINDOW = 3
"""Blocks whose median is the level, when warm-up looks whether it still moves."""

STEADY = 0.02
"""Warm-up ends when the level moves by less than this from one window to the next."""


SLOW_CALL = 0.2
"""Seconds; in a longer call, fetching again what the reference kernel drove out of the caches is lost."""

REWARM_SECONDS = 10e-3
"""Time for calls that are not timed before each sample; at least one is made, at most one on each batch."""


@dataclass(frozen=True)
class WarmUp:
    """How the level was reached: calls in a block, the next turn, blocks and seconds spent, and whether it was steady.

    `steady` is False where the time was up while the level still moved; `level` is the last block's seconds per call.
    """

    iterations: int
    turn: int
    blocks: int
    seconds: float
    steady: bool
    level: float = 0.0


@dataclass(frozen=True)
class Samples:
    """Seconds per call of the layer and of the reference kernel, block by block, and why sampling ended.

    `wall` is the layer's time as the host sees it, empty where that is the same; `spans` say when each of its blocks
    began and ended; `preempted` are the samples within which the system took the processor away more often than in
    most; `starved` counts those within which the device waited for the host.
    """

    layer: tuple[float, ...]
    reference: tuple[float, ...]
    reason: str
    warm_up: WarmUp
    wall: tuple[float, ...] = ()
    spans: tuple[tuple[float, float], ...] = ()
    preempted: tuple[int, ...] = ()
    starved: int = 0


@dataclass(frozen=True)
class Stopwatches:
    """What times the layer and what times the reference kernel, which has its own pace; `now` is everybody's time."""

    layer: Clock
    reference: Clock
    now: Callable[[], float] = time.perf_counter


def involuntary_switches() -> int:
    """Returns how often the system took the processor from any thread of this process that wanted to go on."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def sample(
    call: Callable[[int], object],
    reference: Callable[[int], object],
    watches: Stopwatches,
    settings: Settings,
    *,
    cold: bool = False,
    switches: Callable[[], int] = involuntary_switches,
) -> Samples:
    """Returns samples of `call`, each followed by one of `reference`.

    Warm-up does what the timed blocks do, cache flush included. Where caches are hot, calls that are not timed come
    before each sample: the reference kernel has driven the layer's data out, which cost up to 10 % of a call here, and
    5 % where only one of the batches was fetched again.
    Sampling ends when half the interval of the median is narrower than asked for, with at least the asked number of
    samples, or at the time limit.
    """
    now, clock = watches.now, watches.layer
    prepare = clock.flush if cold else _nothing
    allowed = WARM_UP_SHARE * settings.max_seconds
    warm = warm_up(call, clock, prepare, allowed, cold=cold, now=now)
    for _ in range(WINDOW):  # a first call loads libraries, and says nothing of how many make a block
        watches.reference.block(reference, 0, 1)
    beside = warm_up(reference, watches.reference, _nothing, 0.0, cold=False, now=now)
    layer: list[float] = []
    other: list[float] = []
    wall: list[float] = []
    spans: list[tuple[float, float]] = []
    taken_away: list[int] = []
    turn, starved, reason = warm.turn, 0, None
    deadline = now() + settings.max_seconds
    while reason is None:
        prepare()
        for _ in range(0 if cold else again(warm.level)):
            call(turn)
            turn += 1
        before, began = switches(), now()
        layer.append(clock.block(call, turn, warm.iterations))
        spans.append((began, now()))
        starved += clock.starved
        taken_away.append(switches() - before)
        if clock.has_wall:
            prepare()
            wall.append(clock.wall(call, turn, warm.iterations))
        turn += warm.iterations
        other.append(watches.reference.block(reference, 0, beside.iterations))
        reason = _ended(layer, settings, late=now() >= deadline)
    return Samples(tuple(layer), tuple(other), reason, warm, tuple(wall), tuple(spans), unusual(taken_away), starved)


def again(level: float, seconds: float = REWARM_SECONDS) -> int:
    """Returns how many calls, of `level` seconds each, fetch again what something else drove out of the caches."""
    return 0 if level >= SLOW_CALL else max(1, min(ROTATION, math.ceil(seconds / max(level, 1e-9))))


def unusual(counts: Sequence[int]) -> tuple[int, ...]:
    """Returns the samples in which the processor was taken away more than twice as often as in their median.

    A layer whose own threads take turns on a core loses it in every sample; that is no disturbance, but how it works.
    """
    usual = median(counts)
    return tuple(index for index, count in enumerate(counts) if count > 2 * usual)


def warm_up(
    call: Callable[[int], object],
    clock: Clock,
    prepare: Callable[[], None],
    allowed: float,
    *,
    cold: bool,
    now: Callable[[], float],
) -> WarmUp:
    """Returns how many calls make a block once the level is steady, or once so many seconds have passed.

    With cold caches a block is one call: the second would find them warm.
    """
    began = now()
    turn, blocks, iterations = 0, 0, 1
    last: list[float] = []
    while True:
        prepare()
        seconds = clock.block(call, turn, iterations)
        turn, blocks = turn + iterations, blocks + 1
        wanted = 1 if cold else max(1, math.ceil(clock.least_block / max(seconds, 1e-9)))
        late = now() - began >= allowed
        if wanted > iterations:
            iterations, last = wanted, []
            continue
        last = [*last[1 - 2 * WINDOW :], seconds]
        is_steady = steady(last)
        if is_steady or late:
            return WarmUp(iterations, turn, blocks, now() - began, is_steady, seconds)


def steady(blocks: Sequence[float]) -> bool:
    """Returns whether the level of the last blocks is that of those before, but for what their own spread explains.

    Two medians of a few noisy blocks differ by chance: by no more than half the range of the narrower window, taken
    together with a fixed share of the level.
    """
    if len(blocks) < 2 * WINDOW:
        return False
    before, after = blocks[-2 * WINDOW : -WINDOW], blocks[-WINDOW:]
    noise = min(max(window) - min(window) for window in (before, after)) / 2
    return abs(median(after) - median(before)) <= max(STEADY * median(before), noise)


def _ended(layer: Sequence[float], settings: Settings, *, late: bool) -> str | None:
    """Returns why sampling is over, None while it is not."""
    if len(layer) >= settings.min_samples:
        width = precision(layer)
        if width is not None and width <= settings.half_width:
            return "precise"
    return "time limit" if late else None


def _nothing() -> None:
    """Prepares nothing: caches stay as the last call left them."""

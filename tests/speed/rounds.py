"""Candidates timed in turn within one process: the figure of each is the median over rounds of its ratio to the first.

What else ran on the machine is noted for every round, because a ratio between two busy moments says little.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil

Call = Callable[[], object]


@dataclass(frozen=True)
class Table:
    """Ratios to the first candidate, round by round.

    Attributes:
        seconds: for each candidate its seconds per call, one figure a round.
        others: cores that other programs used, the median over rounds.
    """

    seconds: Mapping[str, tuple[float, ...]]
    others: float

    def ratio(self, name: str, to: str) -> float:
        """Return the median over rounds of `name`'s time over that of `to`."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))

    def spread(self, name: str, to: str) -> tuple[float, float]:
        """Return the smallest and the largest ratio of any round."""
        ratios = [a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True)]
        return min(ratios), max(ratios)


def interleave(calls: Mapping[str, Call], *, rounds: int = 9, block: float = 0.06, warm_up: int = 2) -> Table:
    """Return the table of `calls`, each timed once a round, in an order that is rotated from round to round.

    Args:
        calls: name -> what to time.
        rounds: how many ratios each median is taken over.
        block: seconds that one figure takes at least; a slower call is timed alone.
        warm_up: calls before the first round.
    """
    iterations = {}
    for name, call in calls.items():
        for _ in range(warm_up):
            call()
        started = time.perf_counter()
        call()
        iterations[name] = max(1, round(block / (time.perf_counter() - started)))
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    others = []
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            watch = Others()
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                call = calls[name]
                call()
                started = time.perf_counter()
                for _ in range(iterations[name]):
                    call()
                seconds[name].append((time.perf_counter() - started) / iterations[name])
            others.append(watch.cores())
    finally:
        gc.enable()
    return Table({name: tuple(values) for name, values in seconds.items()}, statistics.median(others))


class Others:
    """The cores that other programs use from now on."""

    def __init__(self) -> None:
        self._start = self._read()

    def cores(self) -> float:
        """Return their mean number since the start."""
        wall, busy, own = (b - a for a, b in zip(self._start, self._read(), strict=True))
        return max(0.0, busy - own) / wall

    @staticmethod
    def _read() -> tuple[float, float, float]:
        times = psutil.cpu_times()
        own = psutil.Process().cpu_times()
        return time.monotonic(), sum(times) - times.idle - getattr(times, "iowait", 0.0), own.user + own.system

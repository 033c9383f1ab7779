"""On which cores a pair of processes takes turns, how long its blocks are, and after how many rounds it is over."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench import duels
from bench.stats import median_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.executors.contestant import Ready
    from bench.records import Case

ROUNDS = 40
"""Blocks of each side in a pair: the spread of a pair's figure fell from 6.4 % at 8 to 3.5 % at 40."""

LEAST_ROUNDS = 8
"""Rounds of slow calls, for which the time is up earlier."""

MOST_ROUNDS = 400
"""Rounds of a pair that something disturbs, if the time allows so many."""

PRECISE = 0.25
"""Standard error of a pair's figure over the threshold below which further rounds teach nothing: pairs differ more."""

BLOCK = 2e-3
"""Seconds of timed calls in a block on a CPU. The level of a shared machine moves within tens of milliseconds
(logarithms of single calls of 3 ms: correlation 0.93 from one to the next, 0.79 ten calls later, 0.5 a hundred later),
so that turns as short as the clock allows say most: the standard error of a pair fell from 2.4 to 1.3 % against blocks
of 4 ms behind 10 ms of warming up again, in the same time."""

LAUNCHES = 20
"""Fewest calls of a block on a GPU."""


def cores(case: Case, available: Sequence[int], number: int) -> tuple[int, ...] | None:
    """Returns the cores that both sides of a pair have to themselves, None where they need all of them.

    Cores of a shared machine are not equally fast at a time: left to the system, each side stays on its own for long,
    and pairs of one-threaded calls on two cores lay 2 to 6 % apart, against 1 to 2 % on the same core. Every pair is
    given the next ones, so that no core is trusted alone.
    """
    threads = case["threads"]
    if case["device"] != "cpu" or threads is None or int(threads) >= len(available):
        return None
    first = number * int(threads)
    return tuple(available[(first + further) % len(available)] for further in range(int(threads)))


def iterations(case: Case, ready: tuple[Ready, Ready]) -> int:
    """Returns how many calls make a block, the same on both sides: enough for the faster one's clock."""
    if case["cache"] == "cold":
        return 1
    if case["device"] == "cuda":
        return max(LAUNCHES, *(side.iterations for side in ready))
    return math.ceil(BLOCK / min(side.level for side in ready))


def told_enough(blocks: tuple[list[float], list[float]], threshold: float, *, late: bool) -> bool:
    """Returns whether a pair's own rounds have told what they can: enough of them and precise, or the time is up.

    Only the precision decides, never the figure itself, which would bend it.
    """
    rounds = len(blocks[0])
    if rounds < LEAST_ROUNDS or (rounds < ROUNDS and not late):
        return False
    error = median_error(duels.log_ratios(*blocks))
    return late or rounds >= MOST_ROUNDS or (error is not None and error <= PRECISE * threshold)

"""How long the blocks of a duel are, and after how many rounds a pair of processes has told what it can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import duels
from bench.stats import median_error

if TYPE_CHECKING:
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

LAUNCHES = 20
"""Fewest calls of a block on a GPU."""


def iterations(case: Case, ready: tuple[Ready, Ready]) -> int:
    """Returns how many calls make a block, the same on both sides: enough for the faster one's clock."""
    if case["cache"] == "cold":
        return 1
    most = max(side.iterations for side in ready)
    return max(most, LAUNCHES) if case["device"] == "cuda" else most


def told_enough(blocks: tuple[list[float], list[float]], threshold: float, *, late: bool) -> bool:
    """Returns whether a pair's own rounds have told what they can: enough of them and precise, or the time is up.

    Only the precision decides, never the figure itself, which would bend it.
    """
    rounds = len(blocks[0])
    if rounds < LEAST_ROUNDS or (rounds < ROUNDS and not late):
        return False
    error = median_error(duels.log_ratios(*blocks))
    return late or rounds >= MOST_ROUNDS or (error is not None and error <= PRECISE * threshold)

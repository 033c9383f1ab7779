"""Bars and lines of blocks in a terminal, with plain characters where its encoding has no blocks."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HEIGHTS, PLAIN_HEIGHTS = "▁▂▃▄▅▆▇█", "12345678"
FULL, EIGHTHS, PLAIN = "█", ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉"), "#"

WIDEST = 24
"""Characters of the longest line of blocks; more figures than that share one."""

FLAT = 1.2
"""A line of blocks spans at least this factor, so that noise does not look like a mountain."""


def has_blocks(encoding: str) -> bool:
    """Whether an encoding can write every block that is drawn here."""
    try:
        (HEIGHTS + FULL + "".join(EIGHTHS)).encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def bar(share: float, width: int, *, blocks: bool) -> str:
    """Returns a share of `width` characters, to the eighth of one with blocks; what is above 0 is never invisible."""
    if share <= 0:
        return ""
    if not blocks:
        return PLAIN * max(1, round(share * width))
    full, rest = divmod(max(1, round(8 * share * width)), 8)
    return FULL * full + EIGHTHS[rest]


def sparkline(values: Sequence[float], width: int = WIDEST, *, blocks: bool = True) -> str:
    """Returns figures as a line on a logarithmic scale; several share a character where there are more than fit."""
    if not values:
        return ""
    heights = HEIGHTS if blocks else PLAIN_HEIGHTS
    count = min(width, len(values))
    shared = [values[len(values) * i // count : len(values) * (i + 1) // count] for i in range(count)]
    levels = [median(some) for some in shared]
    if min(levels) > 0:
        levels = [math.log(level) for level in levels]
        least = math.log(FLAT)
    else:
        least = max(levels) * (FLAT - 1)
    low, high = min(levels), max(levels)
    room = max(least - (high - low), 0.0)
    low, span = low - room / 2, (high - low + room) or 1.0
    top = len(heights) - 1
    return "".join(heights[min(top, max(0, round((level - low) / span * top)))] for level in levels)

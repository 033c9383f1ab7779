"""Where a label of a chart goes: beside its point, clear of everything else where there is such a place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = 6.0
"""Pixels between the centre of a point and its label."""

SIDES = ((1, 1), (1, 0), (0, 1), (-1, 1), (1, -1), (0, -1), (-1, 0), (-1, -1))
"""Where a label is tried, best first: right of the point and above it, and so on."""

RINGS = (1.0, 2.2, 3.6)
"""How many gaps away it is tried, nearest first."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, from its lower left corner."""

    left: float
    low: float
    right: float
    high: float

    def overlap(self, other: Box) -> float:
        """Returns the area that two boxes share."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        tall = min(self.high, other.high) - max(self.low, other.low)
        return wide * tall if wide > 0 and tall > 0 else 0.0

    def centre(self, size: tuple[float, float]) -> tuple[float, float]:
        """Returns the middle as shares of an area of this size."""
        return (self.left + self.right) / 2 / size[0], (self.low + self.high) / 2 / size[1]


def place(at: tuple[float, float], width: float, height: float, taken: Sequence[Box], size: tuple[float, float]) -> Box:
    """Returns where a label goes beside a point: the first place that hides nothing, else the one that hides least."""
    tried = [_box(at, width, height, ring * GAP, side) for ring in RINGS for side in SIDES]
    within = [box for box in tried if box.left >= 0 and box.low >= 0 and box.right <= size[0] and box.high <= size[1]]
    return min(within or tried, key=lambda box: sum(box.overlap(other) for other in taken))


def _box(at: tuple[float, float], width: float, height: float, gap: float, side: tuple[int, int]) -> Box:
    """Returns the box of a label on one side of a point."""
    x, y = at[0] + side[0] * (gap + width / 2), at[1] + side[1] * (gap * 0.7 + height / 2)
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

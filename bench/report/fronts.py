"""Pareto fronts: which cases no other case of the same run and workload beats, and how sure that is.

A front of estimates is easily over-read: of two cases a hair apart, one is on it and the other is not. So every
membership is held against the paired ratios of latencies (`bench.report.findings`), which are what may be claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report import findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.view import Entry

SAME = 0.01
"""Amounts this near to each other are equal: the few parameters of a router make no larger layer."""


@dataclass(frozen=True)
class Offer:
    """A case with what it gives (more is better) and how fast it is (faster is better)."""

    entry: Entry
    amount: float
    speed: float

    def no_less_than(self, other: Offer) -> bool:
        """Whether it gives at least as much."""
        return self.amount * (1 + SAME) >= other.amount

    def beats(self, other: Offer) -> bool:
        """Whether it is better in one and no worse in the other, by the estimates."""
        if self.speed == other.speed:
            return self.amount > other.amount * (1 + SAME)
        return self.speed > other.speed and self.no_less_than(other)

    def surely_faster_than(self, other: Offer) -> bool:
        """Whether the rounds of both leave no doubt that the other one takes longer."""
        found = findings.ratio(self.entry, other.entry)
        return found is not None and found.differs and found.interval.estimate > 1


@dataclass(frozen=True)
class Front:
    """The cases that none beats, fastest first; those of them that might be beaten, and others that might not be."""

    members: tuple[Offer, ...]
    beaten: tuple[Offer, ...]
    doubtful: tuple[Offer, ...]
    near: tuple[Offer, ...]

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """The staircase from far left to far below: everything under it is beaten."""
        far = 1e6
        found = [(self.members[0].amount / far, self.members[0].speed)]
        for i, member in enumerate(self.members):
            below = self.members[i + 1].speed if i + 1 < len(self.members) else member.speed / far
            found += [(member.amount, member.speed), (member.amount, below)]
        return tuple(found)


def of(offers: Sequence[Offer]) -> Front:
    """Returns the front of some offers."""
    by_speed = sorted(offers, key=lambda offer: (-offer.speed, offer.amount))
    members = [one for one in by_speed if not any(other.beats(one) for other in by_speed)]
    beaten = [one for one in by_speed if one not in members]
    return Front(
        tuple(members),
        tuple(beaten),
        tuple(one for one in members if not _surely_on(one, by_speed)),
        tuple(one for one in beaten if not _surely_off(one, by_speed)),
    )


def _surely_on(one: Offer, offers: Sequence[Offer]) -> bool:
    """Whether every case that gives at least as much surely takes longer."""
    return all(one.surely_faster_than(other) for other in offers if other is not one and other.no_less_than(one))


def _surely_off(one: Offer, offers: Sequence[Offer]) -> bool:
    """Whether some case that gives at least as much surely takes less time."""
    return any(other.surely_faster_than(one) for other in offers if other.beats(one))

"""From claims to the plan of a run, and from a stored run back to what its claims come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import grid as grids
from bench import layers, plan
from bench.claims.claim import Judged, judge
from bench.records import Planned, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.claims.claim import Claim
    from bench.results import RunResults

KEY = "claims"
"""Under which the settings of a run hold which claims it was made for."""


def plan_of(
    claims: Iterable[Claim], *, fast: bool, devices: Sequence[str] = ("cpu",), memory: Mapping[str, int] | None = None
) -> plan.Plan:
    """Returns the plan that measures what claims ask, each case once."""
    found: dict[str, Planned] = {}
    timed = set()
    names = []
    for claim in claims:
        names.append(claim.name)
        ask = claim.ask(fast)
        if ask.sweeps:
            grid = grids.parse({"sweep": list(ask.sweeps)}, source=claim.name)
            cases = plan.make(grid, devices=devices, memory=memory, measurable=False).cases
            found |= {planned.case.id: planned for planned in cases}
            timed |= {planned.case.id for planned in cases if ask.timed}
        found |= {case.id: Planned(case, layers.of_case(case).missing) for case in ask.studies}
    asked = grids.Grid("claims", "What the papers say, checked on this machine", f"claims {', '.join(names)}")
    return plan.Plan(asked, tuple(found.values()), untimed=frozenset(found.keys() - timed))


def settings(*, fast: bool) -> Settings:
    """Returns what a measurement is told: five processes of half a second, three of a fifth where it must be fast."""
    return Settings(repeats=3, max_seconds=0.2) if fast else Settings(repeats=5, max_seconds=0.5, timeout=900.0)


def note(claims: Iterable[Claim], asked: plan.Plan, *, fast: bool) -> dict[str, Any]:
    """Returns what a run keeps with its settings, so that it can be gone on with and judged."""
    return {KEY: {"names": [claim.name for claim in claims], "fast": fast, "untimed": sorted(asked.untimed)}}


def is_for_claims(found: RunResults) -> bool:
    """Returns whether a run was made for claims."""
    return KEY in found.run.settings


def of_results(table: Mapping[str, Claim], found: RunResults) -> list[Judged]:
    """Returns what the claims of a stored run come to; of claims that are no more nothing is said.

    Raises:
        ValueError: the run was made for no claims.
    """
    if not is_for_claims(found):
        raise ValueError(f"run {found.run.name} was made for no claims")
    told = found.run.settings[KEY]
    return judge((table[name] for name in told["names"] if name in table), found, fast=bool(told["fast"]))

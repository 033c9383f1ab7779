"""Runs that measured what claims ask, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

from bench.claims import asking
from bench.records import Environment, Observation, Outcome, Run, Status
from bench.results import RunResults, of_outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.claims import Claim
    from bench.records import Case

Figures = Mapping[str, tuple[float, ...] | float]
"""Metric -> its samples in one process, or one of them."""

Answer = Callable[["Case", int], Figures | None]
"""What a process finds of a case, by its repeat; None: it crashed."""

Make = Callable[["Sequence[Claim]", Answer], RunResults]


@pytest.fixture
def run() -> Make:
    """A run of some claims whose processes find what is told."""

    def make(claims: Sequence[Claim], answer: Answer, *, fast: bool = True) -> RunResults:
        plan = asking.plan_of(claims, fast=fast)
        settings = asking.settings(fast=fast)
        outcomes = []
        for repeat, cases in plan.rounds(settings.repeats, 0):
            outcomes += [_outcome(case, repeat, answer(case, repeat)) for case in cases]
        kept = asking.note(claims, plan, fast=fast)
        made = Run("0" * 12, "claims-1", plan.grid.source, "", "", kept, Environment(), 0.0, 1.0, "complete")
        return of_outcomes(made, plan.cases, outcomes)

    return make


def _outcome(case: Case, repeat: int, found: Figures | None) -> Outcome:
    if found is None:
        return Outcome(case.id, repeat, Status.CRASHED, "killed by signal 9")
    samples = {name: value if isinstance(value, tuple) else (value,) for name, value in found.items()}
    seen = tuple(Observation(name, "s" if name == "latency" else "count", each) for name, each in samples.items())
    return Outcome(case.id, repeat, Status.OK, observations=seen)

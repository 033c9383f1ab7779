"""A claim judged over figures that were never measured: what each case and round would have brought."""

from collections.abc import Callable, Mapping

from bench import grid, plan
from bench.claims import Claim, judge
from bench.claims.claim import Finding
from bench.records import INSPECTION, Case, Environment, Observation, Outcome, Planned, Run, Status
from bench.results import of_outcomes

UNITS = {"latency": "s", "parameters": "count", "max_abs_error": "abs"}

Inspected = Callable[[Case], Mapping[str, float]]
Seconds = Callable[[Case, int], float]


def cases(claim: Claim, *, fast: bool) -> list[Case]:
    """The cases of the sweeps that a claim asks for; none of them may be impossible."""
    sweeps = list(claim.ask(fast).sweeps)
    planned = plan.make(grid.parse({"sweep": sweeps}, source=claim.name)).cases
    assert [each.skip for each in planned] == [None] * len(planned)
    return [each.case for each in planned]


def finding(
    claim: Claim,
    *,
    fast: bool,
    inspected: Inspected = lambda _case: {},
    seconds: Seconds | None = None,
    rounds: int = 3,
    without: Callable[[Case], bool] = lambda _case: False,
) -> Finding:
    """What a claim comes to if its cases, but those to do `without`, bring these figures."""
    outcomes = []
    measured = cases(claim, fast=fast)
    for case in (each for each in measured if not without(each)):
        outcomes.append(_outcome(case, INSPECTION, inspected(case)))
        if seconds is not None:
            outcomes += [_outcome(case, number, {"latency": seconds(case, number)}) for number in range(1, rounds + 1)]
    run = Run("0123456789ab", "claims-1", "claims", "", "", {}, Environment(), 0.0)
    found = of_outcomes(run, [Planned(case) for case in measured], outcomes)
    (judged,) = judge([claim], found, fast=fast)
    return judged.finding


def _outcome(case: Case, repeat: int, figures: Mapping[str, float]) -> Outcome:
    seen = tuple(Observation(name, UNITS.get(name, "ratio"), (value,)) for name, value in figures.items())
    return Outcome(case.id, repeat, Status.OK, observations=seen)

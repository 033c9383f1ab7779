"""Claim: the time of a Soft MoE layer is O(mnpd + npk), whatever the number of experts."""

from __future__ import annotations

from dataclasses import dataclass

from bench import layers
from bench.claims import expert_scaling, rounds
from bench.claims.claim import Ask, Chart, Claim, Curve, Finding, Line, Measured, Unknown, Verdict, exact
from bench.stats import Interval, mean_interval

TOLERANCE = 0.2
"""How far a measured exponent may lie from the formula's: the linear and the quadratic are 1 apart."""


@dataclass(frozen=True)
class Scan:
    """Sizes along which one number grows; each is (tokens m, slots n * p, experts n)."""

    name: str
    sizes: tuple[tuple[int, int, int], ...]
    along: int
    """Which of the three is the one to grow."""


TOKENS, SLOTS, EXPERTS = range(3)

# Experts are added where each has 64 rows at least: the fewer rows, the more of the time goes into reading its weights.
FAST = (
    Scan("tokens m, slots fixed", ((256, 256, 8), (1024, 256, 8)), TOKENS),
    Scan("slots np, tokens fixed", ((256, 256, 8), (256, 1024, 8)), SLOTS),
    Scan("tokens m, p = m / n slots per expert", ((256, 256, 8), (1024, 1024, 8)), TOKENS),
    Scan("experts n, slots fixed", ((256, 1024, 8), (256, 1024, 64)), EXPERTS),
)
FULL = (
    Scan("tokens m, slots fixed", ((256, 256, 8), (512, 256, 8), (1024, 256, 8)), TOKENS),
    Scan("slots np, tokens fixed", ((256, 256, 8), (256, 512, 8), (256, 1024, 8)), SLOTS),
    Scan("tokens m, p = m / n slots per expert", ((256, 256, 8), (512, 512, 8), (1024, 1024, 8)), TOKENS),
    Scan("experts n, slots fixed", ((256, 1024, 8), (256, 1024, 16), (256, 1024, 32), (256, 1024, 64)), EXPERTS),
)


def scans(*, fast: bool) -> tuple[Scan, ...]:
    """Returns what is scanned."""
    return FAST if fast else FULL


def axes(size: tuple[int, int, int]) -> dict[str, object]:
    """Returns the axes of the case of a size: forward pass of the fused backend, as `expert_scaling` times it fast."""
    tokens, slots, experts = size
    shape = {"seq_len": tokens, "num_experts": experts, "slots_per_expert": slots // experts}
    return {"layer": "soft", "backend": "fused", "mode": "forward", **expert_scaling.SIZES, **shape}


def rows(size: tuple[int, int, int]) -> int:
    """Returns how many rows an expert works on."""
    return expert_scaling.BATCH * size[1] // size[2]


def ask(fast: bool) -> Ask:  # noqa: FBT001  (the contract of a claim)
    """Returns every size of every scan once."""
    return Ask(sweeps=tuple(axes(size) for size in dict.fromkeys(s for scan in scans(fast=fast) for s in scan.sizes)))


@dataclass(frozen=True)
class Scanned:
    """What a scan came to: the sizes, the FLOPs by formula, and seconds by round at each size."""

    scan: Scan
    flops: tuple[float, ...]
    times: tuple[rounds.Rounds, ...]

    @property
    def places(self) -> list[float]:
        """The number that grows."""
        return [float(size[self.scan.along]) for size in self.scan.sizes]

    @property
    def formula(self) -> float:
        """The exponent that the FLOPs have over these sizes."""
        return rounds.slope(list(zip(self.places, self.flops, strict=True)))

    @property
    def exponent(self) -> Interval:
        """The exponent of latency: one for each round, their mean with its interval.

        Raises:
            Unknown: the cases were timed in no common round.
        """
        common = sorted(set.intersection(*(set(each) for each in self.times)))
        if not common:
            raise Unknown(f"{self.scan.name}: the cases were timed in no common round")
        return mean_interval(
            [
                rounds.slope([(x, each[number]) for x, each in zip(self.places, self.times, strict=True)])
                for number in common
            ]
        )

    @property
    def answer(self) -> bool | None:
        """Whether both agree, None where the interval leaves that open."""
        return rounds.within(self.exponent, self.formula - TOLERANCE, self.formula + TOLERANCE)

    @property
    def curves(self) -> tuple[Curve, Curve]:
        """Latency and FLOPs over those of the smallest size."""
        along = [x / self.places[0] for x in self.places]
        ours = [rounds.times(each, self.times[0]) for each in self.times]
        formula = [exact(flops / self.flops[0]) for flops in self.flops]
        return (
            Curve(self.scan.name, tuple(zip(along, ours, strict=True))),
            Curve(f"formula: {self.scan.name}", tuple(zip(along, formula, strict=True)), of_paper=True),
        )


def judge(measured: Measured) -> Finding:
    """Returns the exponents of latency beside those of the FLOPs of the same cases."""
    found = [_scanned(measured, scan) for scan in scans(fast=measured.fast)]
    answers = [each.answer for each in found]
    inside, outside = answers.count(True), answers.count(False)
    fewest = min(rows(size) for each in found for size in each.scan.sizes if each.scan.along == EXPERTS)
    told = "; ".join(f"{each.scan.name}: {rounds.tell(each.exponent)} and {each.formula:.2f}" for each in found)
    words = (
        f"Exponents of latency, and of the FLOPs by formula over the same cases: {told}. Of {len(answers)}, {inside} "
        f"lie within {TOLERANCE} of the formula's, {outside} do not, and {len(answers) - inside - outside} are left "
        "open by their intervals. Both terms of the formula count at these sizes, so that its exponents lie between "
        "the limits of the O notation. It knows no memory traffic: experts are added where each still works on many "
        f"rows ({fewest} at least), and what comes of few rows is in the claim expert-scaling."
    )
    lines = tuple(
        Line(f"Exponent in {each.scan.name} (paper: its formula at these sizes)", each.formula, each.exponent, "count")
        for each in found
    )
    curves = tuple(curve for each in found for curve in each.curves)
    chart = Chart("Latency against size", "Size over the smallest", "Latency over the smallest", "factor", curves)
    return Finding(rounds.verdict(answers), words, lines, (chart,))


def _scanned(measured: Measured, scan: Scan) -> Scanned:
    """Returns what was measured along a scan.

    Raises:
        Unknown: a case is not there, was not timed or has no formula.
    """
    cases = [measured.one(**axes(size)) for size in scan.sizes]
    costs = [layers.cost(case.case) for case in cases]
    flops = tuple(float(cost.useful_flops) for cost in costs if cost is not None and cost.useful_flops is not None)
    if len(flops) < len(cases):
        raise Unknown(f"{scan.name}: a case has no formula")
    return Scanned(scan, flops, tuple(rounds.of_case(case) for case in cases))


CLAIM = Claim(
    name="time-complexity",
    text="A Soft MoE layer takes O(mnpd + npk) time for m tokens of width d and n experts of p slots and cost k each; "
    "with p = O(m / n) that is O(m^2 d + mk), independent of the number of experts.",
    source="arXiv:2308.00951v2, section 2.3",
    how="Least squares exponents of latency in tokens, slots, both and experts, one per round, against those of the "
    f"FLOP formula over the same cases; within {TOLERANCE} counts as the same.",
    minutes=(2.0, 0.3),
    expected=Verdict.CANNOT,
    ask=ask,
    judge=judge,
)

"""Claim: sparse routers leave tokens out, experts choice more with more experts, and Soft MoE leaves out none.

Judged is what random routers can show: that Soft MoE refuses nothing, that experts choice leaves out more with more
experts, that slack helps both, and that batch priority does not move the rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.claims import rounds
from bench.claims.claim import Ask, Chart, Claim, Curve, Finding, Line, Measured, Verdict
from bench.stats import mean_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.stats import Interval

IMAGES, TOKENS = 8, 256
SIZES: Mapping[str, object] = {
    "input": "photo",
    "batch_size": IMAGES,
    "seq_len": TOKENS,
    "d_model": 384,
    "d_ff": 16,
    "mode": "forward",
}
"""Groups of eight images of S/14, as the paper has them; a router does not know how wide the experts are."""

SLACKS = (1.0, 1.125)
TIGHT, LOOSE = SLACKS
SOFT: Mapping[str, object] = {**SIZES, "layer": "soft", "batch_size": 1, "num_experts": 16, "slots_per_expert": 16}


@dataclass(frozen=True)
class Router:
    """A sparse router, the figure that says how many tokens it leaves out, and the slacks it is looked at with."""

    title: str
    axes: Mapping[str, object]
    metric: str
    slacks: tuple[float, ...] = SLACKS

    def case(self, num_experts: int, slack: float, seed: int) -> dict[str, object]:
        """Returns the axes of its case; the group is the whole batch."""
        drawn = {"num_experts": num_experts, "capacity_factor": slack, "seed": seed}
        return {**SIZES, "backend": "indexed", "group_size": IMAGES * TOKENS, **self.axes, **drawn}


FIRST_COME = Router("tokens choice", {"layer": "token_choice", "top_k": 1, "batch_priority": False}, "drop_rate")
PRIORITY = Router(
    "tokens choice with batch priority",
    {"layer": "token_choice", "top_k": 1, "batch_priority": True},
    "drop_rate",
    (TIGHT,),
)
EXPERTS = Router("experts choice", {"layer": "expert_choice"}, "unrouted_rate")
ROUTERS = (FIRST_COME, PRIORITY, EXPERTS)

PAPER = (
    ("Paper, trained routers: 16 to 32 experts, about", 0.15),
    ("Paper, trained routers: experts choice, 100 to 1000 experts, some layers, up to", 0.50),
    ("Paper, trained routers: tokens choice, up to about", 0.25),
    ("Paper, trained routers: with slack 1.125, about", 0.05),
)


def experts(*, fast: bool) -> tuple[int, ...]:
    """Returns the numbers of experts, each of which divides the group."""
    return (16, 128) if fast else (16, 64, 256)


def seeds(*, fast: bool) -> tuple[int, ...]:
    """Returns the draws of router and images."""
    return (0,) if fast else (0, 1, 2)


def ask(fast: bool) -> Ask:  # noqa: FBT001  (the contract of a claim)
    """Returns every router with each number of experts, slack and draw; only inspected."""
    cases = (
        router.case(count, slack, seed)
        for router in ROUTERS
        for count in experts(fast=fast)
        for slack in router.slacks
        for seed in seeds(fast=fast)
    )
    return Ask(sweeps=(SOFT, *cases), timed=False)


@dataclass(frozen=True)
class Rates:
    """Shares of tokens left out, by draw, for each router, number of experts and slack."""

    measured: Measured

    def draws(self, router: Router, count: int, slack: float) -> list[float]:
        """Returns one rate for each draw."""
        return [
            self.measured.figure(router.metric, **router.case(count, slack, seed)).estimate
            for seed in seeds(fast=self.measured.fast)
        ]

    def rise(self, router: Router) -> Interval:
        """Returns by how much the rate is higher with the most experts than with the fewest, draw by draw."""
        counts = experts(fast=self.measured.fast)
        few, many = (self.draws(router, count, TIGHT) for count in (counts[0], counts[-1]))
        return mean_interval([high - low for low, high in zip(few, many, strict=True)])

    def relief(self, router: Router) -> list[float]:
        """Returns by how much the rate is lower with slack, for each draw and number of experts."""
        return [
            tight - loose
            for count in experts(fast=self.measured.fast)
            for tight, loose in zip(self.draws(router, count, TIGHT), self.draws(router, count, LOOSE), strict=True)
        ]

    def moved(self) -> float:
        """Returns the largest difference that batch priority makes to a rate."""
        differences = [
            abs(with_priority - without)
            for count in experts(fast=self.measured.fast)
            for without, with_priority in zip(
                self.draws(FIRST_COME, count, TIGHT), self.draws(PRIORITY, count, TIGHT), strict=True
            )
        ]
        return max(differences)


def judge(measured: Measured) -> Finding:
    """Returns what each router leaves out, and whether it moves with experts, slack and priority as the paper says."""
    rates = Rates(measured)
    refused = max(measured.figure(metric, **SOFT).estimate for metric in ("drop_rate", "unrouted_rate"))
    error = measured.figure("max_abs_error", **SOFT).estimate
    rises = [rates.rise(router) for router in (EXPERTS, FIRST_COME)]
    relieved = [gain for router in (EXPERTS, FIRST_COME) for gain in rates.relief(router)]
    answers = (refused == 0, _rises(rises[0]), min(relieved) > 0, rates.moved() == 0)
    return Finding(rounds.verdict(answers), _words(rates, rises, relieved, error), _lines(rates), (_chart(rates),))


def _rises(found: Interval) -> bool | None:
    """Returns whether a rate grows: by its interval, by its sign where there is one draw only."""
    if found.low is None or found.high is None:
        return found.estimate > 0
    if found.low > 0:
        return True
    return False if found.high <= 0 else None


def _words(rates: Rates, rises: list[Interval], relieved: list[float], error: float) -> str:
    """Returns the answer in sentences."""
    counts, draws = experts(fast=rates.measured.fast), len(seeds(fast=rates.measured.fast))
    least, most = counts[0], counts[-1]
    rose = "; ".join(
        f"{router.title} {_share(rates, router, least)} with {least} and {_share(rates, router, most)} with {most} "
        f"experts (higher by {_points(rise)})"
        for router, rise in zip((EXPERTS, FIRST_COME), rises, strict=True)
    )
    drawn = "one draw of router and images" if draws == 1 else f"{draws} draws of router and images"
    return (
        f"Share of tokens left out at slack {TIGHT:g}, {drawn}: {rose}. Slack {LOOSE:g} changes it by "
        f"{-100 * max(relieved):.1f} to {-100 * min(relieved):.1f} points; batch priority by at most "
        f"{100 * rates.moved():.1f} (which tokens it keeps is not looked at here). Soft MoE leaves out none by "
        "definition, as every output mixes all slots and every slot all tokens with weights above 0: that is no "
        f"measurement, but its output differs from a float64 computation of that definition by {error:.0e} at most. "
        "These routers are random and the paper's are trained, so the rates themselves cannot be compared, only how "
        "they move."
    )


def _share(rates: Rates, router: Router, count: int) -> str:
    """Returns the mean rate in words."""
    return f"{mean_interval(rates.draws(router, count, TIGHT)).estimate:.0%}"


def _points(rise: Interval) -> str:
    """Returns a difference of shares in percentage points, with its interval where it has one."""
    if rise.low is None or rise.high is None:
        return f"{100 * rise.estimate:.0f} points"
    return f"{100 * rise.estimate:.0f} points, {100 * rise.low:.0f} to {100 * rise.high:.0f}"


def _lines(rates: Rates) -> tuple[Line, ...]:
    """Returns the paper's rates, of which none is ours, and ours."""
    ours = [
        Line(
            f"{router.title}, {count} experts, slack {slack:g}: random router",
            None,
            mean_interval(rates.draws(router, count, slack)),
            "ratio",
        )
        for router in ROUTERS
        for slack in router.slacks
        for count in experts(fast=rates.measured.fast)
    ]
    return (*(Line(text, figure, None, "ratio") for text, figure in PAPER), *ours)


def _chart(rates: Rates) -> Chart:
    """Returns the rates against the number of experts."""
    curves = tuple(
        Curve(
            f"{router.title}, slack {slack:g}",
            tuple(
                (float(count), mean_interval(rates.draws(router, count, slack)))
                for count in experts(fast=rates.measured.fast)
            ),
        )
        for router in ROUTERS
        for slack in router.slacks
    )
    return Chart("Tokens left out, random routers on photographs", "Experts", "Share of tokens", "ratio", curves)


CLAIM = Claim(
    name="token-dropping",
    text="Tokens choice drops tokens and experts choice leaves some unprocessed, about 15 % with 16 to 32 experts and "
    "40 to 50 % in some layers of experts choice with 100 to 1000; a slack of 1.125 brings that down to about 5 %; "
    "Soft MoE leaves out none.",
    source="arXiv:2308.00951v2, appendix B",
    how="Drop rate of tokens choice (one expert per token, with and without batch priority) and unrouted rate of "
    "experts choice, random routers on patches of photographs in groups of eight images.",
    minutes=(1.0, 0.2),
    expected=Verdict.REPRODUCED,
    ask=ask,
    judge=judge,
)

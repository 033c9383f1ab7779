"""The claim about subsets of experts: what it makes of figures that agree, and of figures that do not."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from bench.claims import TABLE, Verdict, asking
from bench.claims.subset_models import EXPERTS, SEEDS, SHARES, SLOTS, trend
from bench.stats import mean_interval, t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Answer, Make

    from bench.records import Case

CLAIM = TABLE["subset-of-experts"]


def replayed(
    growth: float = 0.05,
    *,
    lead: float = 0.2,
    lead_growth: float = 0.0,
    wobble: float = 0.004,
    broken: Callable[[Case], bool] = bool,
) -> Answer:
    """Classifiers whose chosen experts gain `growth` per doubling; their lead over random ones gains `lead_growth`.

    The seeds' growth differs by up to `wobble`. A layer takes half of its time and half for the share of its experts.
    """

    def answer(case: Case, repeat: int) -> dict[str, tuple[float, ...] | float] | None:
        if broken is not bool and broken(case):
            return None
        if "study" not in case:
            share = int(case.get("active_experts") or case["num_experts"] or 0) / int(case["num_experts"] or 0)
            return {"latency": 1e-3 * (0.5 + 0.5 * share) * (1 + 0.01 * repeat)} if repeat else {"parameters": 1.0}
        experts = int(case["num_experts"] or 0)
        doublings = math.log2(experts) * (growth + wobble * (int(case["seed"] or 0) % 3 - 1))
        found: dict[str, tuple[float, ...] | float] = {"accuracy_all": 0.8}
        for share in (share for share in SHARES if (share * experts).denominator == 1):
            chosen = 0.8 * (0.3 + doublings + 0.1 * float(share))
            worth = {"chosen": chosen, "worst": 0.1, "static": chosen - 0.03, "best": 0.9, "best_fixed": chosen + 0.04}
            found |= {f"accuracy_{kind}_k{share * experts}": value for kind, value in worth.items()}
            random = chosen - lead - lead_growth * math.log2(experts)
            found[f"accuracy_random_k{share * experts}"] = (random - 0.01, random + 0.01)
        sizes = {"parameters_experts": 24576.0, "parameters_model": 25227.0 + experts}
        return found | sizes | {"parameters_router": 1.0}

    return answer


def test_a_share_that_grows_with_a_lead_is_reproduced(run: Make) -> None:
    [judged] = asking.of_results(TABLE, run([CLAIM], replayed(), fast=False))
    assert judged.finding.verdict is Verdict.REPRODUCED, judged.finding.words
    assert "+5.0 points (+4.6 to +5.4) for each doubling of n" in judged.finding.words
    assert "lead by +20.0 points (+20.0 to +20.0) at n/4" in judged.finding.words
    assert "but that this lead grows is not shown: it moves by +0.0 points (+0.0 to +0.0) and " in judged.finding.words
    assert "once for all brings +3.0 points (+3.0 to +3.0) at n = " in judged.finding.words
    assert "it brings -4.0 points (-4.0 to -4.0) over the fixed subset" in judged.finding.words
    assert "62 %" in judged.finding.words  # of the time at a quarter: 0.5 + 0.5 / 4
    assert "it says nothing of ImageNet" in judged.finding.words
    assert f"With {SLOTS} slots" in judged.finding.words
    assert len(judged.finding.charts) == 3


@pytest.mark.parametrize(
    "answer",
    [
        replayed(0.0),
        replayed(-0.05),
        replayed(0.05, lead=-0.01),
        replayed(0.05, lead=0.0),
        replayed(0.02, wobble=0.06),  # it grows on average, and the interval holds zero
    ],
    ids=["no growth", "decline", "behind random", "no better than random", "seeds disagree"],
)
def test_what_is_not_shown_is_not_reproduced(run: Make, answer: Answer) -> None:
    [judged] = asking.of_results(TABLE, run([CLAIM], answer, fast=False))
    assert judged.finding.verdict is Verdict.NOT_REPRODUCED
    assert judged.fallen


@pytest.mark.parametrize("growth", [0.05, -0.05])
def test_a_single_seed_decides_nothing(run: Make, growth: float) -> None:
    [judged] = asking.of_results(TABLE, run([CLAIM], replayed(growth, wobble=0.0)))
    assert judged.finding.verdict is Verdict.CANNOT
    assert judged.finding.words.startswith("A single training seed has no interval and decides nothing")
    assert f"{100 * growth:+.1f} points for each doubling of n" in judged.finding.words
    assert len(judged.finding.charts) == 2


def test_a_lead_that_grows_is_told(run: Make) -> None:
    [judged] = asking.of_results(TABLE, run([CLAIM], replayed(lead=0.1, lead_growth=0.02), fast=False))
    assert "and that lead grows: by +2.0 points (+2.0 to +2.0)" in judged.finding.words
    assert "is not shown" not in judged.finding.words


def test_a_lead_that_grows_only_with_the_slots_is_not_called_growing(run: Make) -> None:
    growing, level = replayed(lead=0.1, lead_growth=0.02), replayed(lead=0.3)

    def answer(case: Case, repeat: int) -> dict[str, tuple[float, ...] | float] | None:
        fixed_slots = "study" in case and case["slots_per_expert"] != 1
        return dict(found) if (found := (level if fixed_slots else growing)(case, repeat)) else None

    [judged] = asking.of_results(TABLE, run([CLAIM], answer, fast=False))
    assert "but that this lead grows is not shown: it moves by +2.0 points" in judged.finding.words


@pytest.mark.parametrize(
    "broken",
    [
        lambda case: case.get("study") == "subsets" and case["num_experts"] == 8 and case["seed"] == 0,
        lambda case: case.get("active_experts") == 32,
    ],
    ids=["a classifier", "a timed layer"],
)
def test_without_a_case_it_cannot_be_checked(run: Make, broken: Callable[[Case], bool]) -> None:
    [judged] = asking.of_results(TABLE, run([CLAIM], replayed(broken=broken)))
    assert judged.finding.verdict is Verdict.CANNOT
    assert "killed by signal 9" in judged.finding.words


def test_figures_are_told_beside_each_other(run: Make) -> None:
    [judged] = asking.of_results(TABLE, run([CLAIM], replayed(), fast=False))
    lines = {line.what: line.ours for line in judged.finding.lines}
    chosen, random, worst = (
        lines[f"n = 128, k = 32: accuracy, {how}"]
        for how in ("chosen by algorithm 1", "random, anew for each image", "smallest scores")
    )
    assert chosen is not None
    assert random is not None
    assert worst is not None
    assert chosen.estimate - random.estimate == pytest.approx(0.2)
    assert worst.estimate == pytest.approx(0.1)
    time = lines["384 wide, n = 128, k = 32: latency over that of all experts (n/4)"]
    assert time is not None
    assert time.estimate == pytest.approx(0.625)
    # arXiv:2409.00879 as the fact sheet has it: routing 2mdnp + 4mdkp, experts 4kpdh
    work = lines["384 wide, n = 128, k = 32: FLOPs over those of all experts (n/4)"]
    m, d, n, k, h = 196, 384, 128, 32, 96
    assert work is not None
    expected = (2 * m * d * n + 4 * m * d * k + 4 * k * d * h) / (6 * m * d * n + 4 * n * d * h)
    assert work.estimate == pytest.approx(expected, rel=0.01)
    assert all(line.paper is None for line in judged.finding.lines)  # its tables could not be read


def test_expert_weights_are_the_same_for_every_number_of_experts() -> None:
    for fast in (True, False):
        for case in CLAIM.ask(fast).studies:
            assert int(case["num_experts"] or 0) * int(case["d_ff"] or 0) == 512
    fixed = {case["num_experts"] for case in CLAIM.ask(False).studies if (case["slots_per_expert"] or 0) != 1}
    assert fixed == {8, 32}
    assert len(CLAIM.ask(True).studies) == len(EXPERTS[True]) * len(SEEDS[True])


def test_a_trend_is_a_slope_for_each_seed() -> None:
    found = trend({2: (0.1, 0.2), 8: (0.3, 0.6), 32: (0.5, 1.0)})
    assert found.estimate == pytest.approx(0.15)
    assert found.low == pytest.approx(0.15 - t_quantile(1) * 0.05)
    assert mean_interval((1.0, 1.0, 1.0)).high == 1.0
    assert mean_interval((0.5,)).low is None


def test_a_share_counts_only_where_it_is_whole() -> None:
    assert [n for n in EXPERTS[False] if (Fraction(1, 8) * n).denominator == 1] == [8, 16, 32, 64, 128]

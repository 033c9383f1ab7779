"""What a claim may ask, what becomes of it, and how figures are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.axes import STUDIES
from bench.claims import TABLE, Claim, Verdict, asking
from bench.claims.claim import Ask, Finding, Measured, Unknown, exact, study

if TYPE_CHECKING:
    from conftest import Make

    from bench.records import Case

SIZES = {"seq_len": 8, "d_model": 8, "d_ff": 16}


def claim(name: str = "one", *, timed: bool = True, expected: Verdict = Verdict.REPRODUCED) -> Claim:
    """That two experts take as long as one: reproduced below twice the time."""

    def ask(fast: bool) -> Ask:
        counts = [1, 2] if fast else [1, 2, 4]
        sweep = {"layer": "soft", "num_experts": counts, "slots_per_expert": 1, **SIZES}
        return Ask((sweep,), (study("model", "vit", variant="tiny", moe="dense"),), timed=timed)

    def judge(measured: Measured) -> Finding:
        one, two = (measured.figure("latency", layer="soft", num_experts=n).estimate for n in (1, 2))
        held = two < 2 * one
        return Finding(Verdict.REPRODUCED if held else Verdict.NOT_REPRODUCED, f"{two / one:.1f} times as long.")

    return Claim(name, "Text.", "Paper, Table 1", "By measuring.", (1.0, 0.1), expected, judge, ask)


def times(factor: float, crashed: int = 0) -> object:
    def answer(case: Case, repeat: int) -> dict[str, float] | None:
        if case.get("num_experts") == crashed:
            return None
        return {"latency": 0.001 * (factor if case.get("num_experts") == 2 else 1.0)} if repeat else {}

    return answer


def test_a_plan_has_each_case_once_and_times_no_study() -> None:
    plan = asking.plan_of([claim("one"), claim("two")], fast=False)
    assert [planned.case.get("num_experts") for planned in plan.cases] == [1, 2, 4, None]
    rounds = dict(plan.rounds(2, 0))
    assert len(rounds[0]) == 4
    assert sorted(str(case["num_experts"]) for case in rounds[1]) == ["1", "2", "4"]
    assert plan.grid.source == "claims one, two"


def test_what_is_only_inspected_is_not_timed_unless_another_claim_times_it() -> None:
    alone = asking.plan_of([claim(timed=False)], fast=True)
    assert [len(cases) for _, cases in alone.rounds(2, 0)] == [3, 0, 0]
    both = asking.plan_of([claim(timed=False), claim()], fast=True)
    assert [len(cases) for _, cases in both.rounds(2, 0)] == [3, 2, 2]


def test_a_stored_run_is_judged_as_it_was_asked(run: Make) -> None:
    table = {"one": claim()}
    [held] = asking.of_results(table, run([claim()], times(1.5)))
    assert (held.finding.verdict, held.fallen) == (Verdict.REPRODUCED, False)
    [fell] = asking.of_results(table, run([claim()], times(3.0)))
    assert (fell.finding.verdict, fell.finding.words, fell.fallen) == (
        Verdict.NOT_REPRODUCED,
        "3.0 times as long.",
        True,
    )
    never = claim(expected=Verdict.NOT_REPRODUCED)
    [known] = asking.of_results({"one": never}, run([never], times(3.0)))
    assert not known.fallen, "it was not expected to hold"


def test_a_claim_whose_case_failed_cannot_be_checked(run: Make) -> None:
    [judged] = asking.of_results({"one": claim()}, run([claim()], times(1.5, crashed=2)))
    assert judged.finding.verdict is Verdict.CANNOT
    assert judged.finding.words == "Cannot be checked here: crashed: killed by signal 9."
    assert not judged.fallen


def test_a_claim_that_is_no_more_is_passed_over_and_an_ordinary_run_has_none(run: Make) -> None:
    found = run([claim()], times(1.5))
    assert asking.of_results({}, found) == []
    found.run.settings.pop("claims")  # type: ignore[attr-defined]
    assert not asking.is_for_claims(found)
    with pytest.raises(ValueError, match="claims-1 was made for no claims"):
        asking.of_results({}, found)


def test_figures_are_found_by_axes(run: Make) -> None:
    measured = Measured(run([claim()], times(1.5)).cases)
    assert len(measured.all(layer="soft")) == 2
    assert measured.all(layer="vit") == [], "a study is found by its name only"
    assert len(measured.all(layer="vit", study="model")) == 1
    assert measured.figure("latency", num_experts=2).estimate == pytest.approx(0.0015)
    with pytest.raises(ValueError, match="2 cases have"):
        measured.one(layer="soft")
    for metric, axes, says in (
        ("latency", {"num_experts": 16}, "no case has num_experts=16"),
        ("energy", {"num_experts": 2}, "energy is unknown"),
    ):
        with pytest.raises(Unknown, match=says):
            measured.figure(metric, **axes)
    with pytest.raises(Unknown, match="parameters_built is unknown"):
        measured.samples("parameters_built", study="model")


def test_what_is_computed_has_no_interval() -> None:
    assert (exact(2.0).estimate, exact(2.0).low, exact(2.0).high) == (2.0, None, None)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", list(TABLE))
def test_every_claim_says_what_it_is_and_asks_for_what_can_be_planned(name: str, fast: bool) -> None:
    known = TABLE[name]
    assert known.name == name
    assert known.source.startswith("arXiv:")
    assert known.text.endswith(".")
    assert known.how.endswith(".")
    assert known.minutes[0] >= known.minutes[1] >= 0
    plan = asking.plan_of([known], fast=fast)
    assert all(planned.skip is None or "not installed" in planned.skip for planned in plan.cases)
    assert {planned.case.get("study") for planned in plan.cases} <= {None, *STUDIES}


def test_all_claims_keep_to_their_time() -> None:
    assert sum(known.minutes[0] for known in TABLE.values()) < 30.05
    assert sum(known.minutes[1] for known in TABLE.values()) < 2.05

"""What the claim about one expert and the Euclidean norm comes to, by figures that nobody measured."""

from collections.abc import Callable

import pytest
import recorded

from bench import claims
from bench.claims.norm import CLAIM, MANY_SLOTS
from bench.records import Case, Observation, Outcome, Status

Change = Callable[[Case, dict[str, tuple[float, ...]]], dict[str, tuple[float, ...]] | None]

ERRORS = {(1, 1): 1.3, (2, 1): 0.7, (4, 1): 0.3, (8, 1): 0.2, MANY_SLOTS: 0.4}


def shape_of(case: Case) -> tuple[int, int]:
    return int(case["num_experts"]), int(case["slots_per_expert"])


def as_it_should_be(case: Case) -> dict[str, tuple[float, ...]]:
    experts, slots = shape_of(case)
    if case["study"] == "norm_trained":
        spread = (0.9, 1.0, 1.1)
        error = ERRORS[experts, slots]
        opposite = tuple(error * s / 2 for s in spread)
        return {
            "norm_rmse": tuple(error * s for s in spread),
            "norm_rmse_opposite": opposite,
            "norm_rmse_constant": (2.9,),
        }
    few = experts * slots < case["d_model"]
    hidden = experts * slots == 1
    return {
        "collision_norm": (0.0, 14.0, 1.4e6),
        "collision_gap": (0.0, 0.0 if few else 5.0, 0.0 if few else 5e5),
        "family_norm": (0.0, 20.0, 100.0),
        "family_slot": (0.0, 1.3e-8, 1.2e-42),
        "family_bound": (0.0, 1.4e-8, 1.3e-42),
        "family_gap": (0.0, 1e-8 if hidden else 20.0, 1e-42 if hidden else 100.0),
    }


def judged(change: Change = lambda _case, found: found, *, fast: bool = False) -> claims.Judged:
    cases = CLAIM.ask(fast).studies
    outcomes = []
    for case in cases:
        found = change(case, as_it_should_be(case))
        if found is not None:
            observations = tuple(Observation(name, "abs", samples) for name, samples in found.items())
            outcomes.append(Outcome(case.id, 0, Status.OK, observations=observations))
    return claims.judge([CLAIM], recorded.results(outcomes, cases), fast=fast)[0]


def test_it_asks_for_trained_networks_only_in_full_and_times_nothing() -> None:
    fast, full = CLAIM.ask(True), CLAIM.ask(False)
    assert {case["study"] for case in fast.studies} == {"norm"}
    assert {case["study"] for case in full.studies} == {"norm", "norm_trained"}
    assert not fast.timed
    assert not full.timed
    widths = {case["num_experts"] * case["d_ff"] for case in full.studies if case["study"] == "norm_trained"}
    assert widths == {64}
    assert all(case["normalize"] == "none" for case in full.studies)


def test_reproduced_with_its_figures() -> None:
    finding = judged().finding
    assert finding.verdict is claims.Verdict.REPRODUCED
    assert "norm 0 to 1,400,000 give exactly the same output" in finding.words
    assert "more experts alone do not suffice" in finding.words
    assert "1.0e-42, and the proof needs expert and readout to be Lipschitz" in finding.words
    assert "6.50 times (95 % interval 6.50 to 6.50) the error of eight experts" in finding.words
    assert "one expert with eight slots with 2.00 times" in finding.words
    assert "slots explain some of what experts bring" in finding.words
    lines = {line.what: line.ours.estimate for line in finding.lines if line.ours}
    assert lines["1 expert, 5 slots, 6 dimensions: output moves, norm 1.4e+06"] == 0
    assert lines["2 experts, 1 slot each, 1 dimension: output moves, token of 100"] == 100
    assert lines["Trained, 8 experts, 1 slot each: error"] == pytest.approx(0.2, rel=0.01)
    (chart,) = finding.charts
    assert [point[0] for point in chart.curves[0].points] == [1, 2, 4, 8]


def test_the_fast_check_says_that_nothing_was_trained() -> None:
    finding = judged(fast=True).finding
    assert finding.verdict is claims.Verdict.REPRODUCED
    assert finding.words.endswith("What training makes of it is measured in the full check.")
    assert finding.charts == ()
    assert not any("Trained" in line.what for line in finding.lines)


def spoilt(shape: tuple[int, int], d_model: int, metric: str, samples: tuple[float, ...]) -> Change:
    def change(case: Case, found: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        hit = shape_of(case) == shape and case["d_model"] == d_model and metric in found
        return {**found, metric: samples} if hit else found

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (spoilt((5, 1), 6, "collision_gap", (0.0, 1e-9, 0.0)), "give outputs that differ by up to 1e-09"),
        (spoilt((6, 1), 6, "collision_gap", (0.0, 0.0, 0.0)), "do not come apart, so that the test shows nothing"),
        (spoilt((1, 1), 1, "family_gap", (0.0, 1.0, 1.0)), "One expert with one slot does not hide a second family"),
        (spoilt((1, 1), 6, "family_slot", (0.0, 1.5e-8, 0.0)), "One expert with one slot does not hide"),
        (spoilt((1, 2), 1, "family_gap", (0.0, 1e-8, 1e-8)), "do not tell that family apart"),
        (spoilt((1, 1), 2, "norm_rmse", (0.2, 0.21, 0.22)), "slots explain nothing of what experts bring"),
    ],
)
def test_not_reproduced_by_any_figure_that_is_otherwise(change: Change, said: str) -> None:
    judgement = judged(change)
    assert judgement.finding.verdict is claims.Verdict.NOT_REPRODUCED
    assert judgement.fallen
    assert said in judgement.finding.words


def test_it_cannot_be_checked_without_a_case() -> None:
    def without(case: Case, found: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]] | None:
        return None if shape_of(case) == (1, 5) else found

    judgement = judged(without)
    assert judgement.finding.verdict is claims.Verdict.CANNOT
    assert not judgement.fallen
    assert "not measured" in judgement.finding.words

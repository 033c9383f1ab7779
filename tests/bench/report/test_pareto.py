"""Fronts: who is on them, how sure that is, and when there is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bench import layers
from bench.records import Observation, Outcome, Status
from bench.report import fronts, view
from bench.report.sections import pareto

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import SimpleNamespace

    from bench.records import Case
    from bench.report.fronts import Front
    from bench.report.section import Section
    from bench.results import RunResults

SIZES = (1e6, 2e6, 3e6)
LAYERS = ("dense", "soft", "token_choice", "expert_choice")


def words(section: Section | None) -> str:
    assert section is not None
    text = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", str(section.body), flags=re.DOTALL)
    return re.sub(r"\s+", " ", text.replace("\u00a0", " "))


def described(section: Section | None) -> dict[str, str]:
    assert section is not None
    return dict(re.findall(r'<desc id="([\w-]+)-desc">([^<]*)</desc>', str(section.body)))


def counted(of: Case, parameters: float) -> Outcome:
    return Outcome(of.id, 0, Status.OK, "", (), (Observation("parameters", "count", (parameters,)),))


def offers(make: SimpleNamespace, figures: Mapping[str, tuple[float, Sequence[float]]]) -> Front:
    """The front of cases by layer: what each gives, and its seconds in each round."""
    cases = {name: make.case(name) for name in figures}
    found = make.run([*cases.values()], [o for name, of in cases.items() for o in make.timed(of, *figures[name][1])])
    entries = view.of([found]).entries
    amounts = [amount for amount, _ in figures.values()]
    return fronts.of(
        [fronts.Offer(e, amount, e.value("throughput") or 0.0) for e, amount in zip(entries, amounts, strict=True)]
    )


def names(some: Sequence[fronts.Offer]) -> list[str]:
    return [str(offer.entry.case["layer"]) for offer in some]


def test_who_is_on_the_front_is_beaten_by_none(make: SimpleNamespace) -> None:
    front = offers(
        make,
        {
            "soft": (400.0, (0.02, 0.02, 0.02)),
            "dense": (100.0, (0.01, 0.01, 0.01)),
            "token_choice": (300.0, (0.03, 0.03, 0.03)),
            "expert_choice": (800.0, (0.04, 0.04, 0.04)),
        },
    )
    assert names(front.members) == ["dense", "soft", "expert_choice"]
    assert names(front.beaten) == ["token_choice"]
    assert front.doubtful == front.near == ()
    inner = front.corners[1:-1]
    expected = ((100, 10_000), (100, 5_000), (400, 5_000), (400, 2_500), (800, 2_500))
    assert inner == tuple(pytest.approx(corner) for corner in expected)


def test_equal_cases_are_both_on_the_front_and_a_slower_one_of_equal_size_is_not(make: SimpleNamespace) -> None:
    twins = offers(make, {"dense": (100.0, (0.01,) * 3), "soft": (100.0, (0.01,) * 3), "uniform": (100.0, (0.02,) * 3)})
    assert names(twins.members) == ["dense", "soft"]


@pytest.mark.parametrize(("amount", "members"), [(100.9, ["dense"]), (102.0, ["dense", "soft"])])
def test_amounts_within_one_per_cent_are_equal(make: SimpleNamespace, amount: float, members: list[str]) -> None:
    front = offers(make, {"dense": (100.0, (0.01,) * 3), "soft": (amount, (0.02,) * 3), "uniform": (50.0, (0.03,) * 3)})
    assert names(front.members) == members


def test_membership_that_rounds_do_not_carry_is_doubtful(make: SimpleNamespace) -> None:
    front = offers(
        make,
        {
            "dense": (100.0, (0.0100, 0.0110, 0.0120)),
            "soft": (400.0, (0.0110, 0.0100, 0.0125)),  # as fast as dense for all that is known, and larger
            "token_choice": (400.0, (0.0112, 0.0103, 0.0124)),  # hardly slower than soft, and as large
            "expert_choice": (300.0, (0.0500, 0.0510, 0.0490)),
        },
    )
    assert names(front.members) == ["dense", "soft"]
    assert names(front.doubtful) == ["dense", "soft"]
    assert names(front.near) == ["token_choice"]


def test_a_single_round_makes_nothing_certain_but_who_gives_most(make: SimpleNamespace) -> None:
    front = offers(make, {"dense": (100.0, (0.01,)), "soft": (400.0, (0.02,)), "uniform": (100.0, (0.03,))})
    assert (names(front.members), names(front.doubtful)) == (["dense", "soft"], ["dense"])
    assert names(front.near) == ["uniform"]


def run(make: SimpleNamespace, sizes: Sequence[float | None], seconds: Sequence[float]) -> RunResults:
    cases = [make.case(name) for name in LAYERS[: len(sizes)]]
    outcomes = [counted(of, size) for of, size in zip(cases, sizes, strict=True) if size is not None]
    outcomes += [o for of, s in zip(cases, seconds, strict=True) for o in make.timed(of, s, s, s)]
    return make.run(cases, outcomes)


def test_the_section_says_who_is_on_which_front(make: SimpleNamespace) -> None:
    section = pareto.build([run(make, (1e3, 4e6, 3e6, 8e6), (0.01, 0.02, 0.03, 0.04))])
    said = words(section)
    assert said.count("At the same throughput more of either is better") == 1
    assert (
        "By parameters, 3 of 4 cases are on the front, fastest first: Dense FFN (1), Soft MoE · fused (2) and "
        "Experts choice · indexed (3). No interval reaches across it: every case is surely on its side."
    ) in said
    assert (
        "By useful FLOPs per token, 2 of 4 cases are on the front, fastest first: Dense FFN (1) and "
        "Tokens choice (top-k) · grouped (2)."
    ) in said
    assert described(section)["pareto-0-parameters"] == (
        "Throughput against parameters of 4 cases, both axes logarithmic. On the front, fastest first: Dense FFN "
        "10.0 ktoken/s at 1,000 parameters; Soft MoE · fused 5.00 ktoken/s at 4.00 M parameters; Experts choice · "
        "indexed 2.50 ktoken/s at 8.00 M parameters. 1 case below it."
    )
    table = str(section.body if section else "")
    assert re.findall(r'<th scope="row">([^<]*)</th>\s*<td>([^<]*)</td>', table) == [
        ("Dense FFN", "parameters; useful FLOPs per token"),
        ("Soft MoE · fused", "parameters"),
        ("Experts choice · indexed", "parameters"),
        ("Tokens choice (top-k) · grouped", "useful FLOPs per token"),
    ]


def test_the_section_is_careful(make: SimpleNamespace) -> None:
    assert "Not certain: 2 may be off it, as the 95 % intervals of the ratios within rounds leave it open." in words(
        pareto.build([make.quick()])
    )
    assert "By parameters, 3 of 3 cases are on the front" in (
        said := words(pareto.build([run(make, SIZES, (1, 2, 3))]))
    )
    assert "No interval reaches across it" in said
    cases = [make.case(name) for name in LAYERS[:3]]
    outcomes = [counted(of, size) for of, size in zip(cases, SIZES, strict=True)]
    outcomes += [o for i, of in enumerate(cases, 1) for o in make.timed(of, 0.01 * i)]
    said = words(pareto.build([make.run(cases, outcomes)]))
    assert "Only 3 is certain to be on it: the 95 % intervals of the ratios within rounds leave all else open." in said


def test_a_case_that_is_best_in_both_has_a_sentence_of_its_own(make: SimpleNamespace) -> None:
    said = words(pareto.build([run(make, (9e6, 4e6, 3e6), (0.01, 0.02, 0.03))]))
    assert "By parameters, Dense FFN beats all others: none has more, and none is faster." in said


def test_parameters_follow_from_the_formula_where_nobody_counted_them(make: SimpleNamespace) -> None:
    found = run(make, (None, None, None), (0.01, 0.02, 0.03))
    expected = [layers.cost(result.case).parameters for result in found.cases]
    assert [pareto.parameters(entry) for entry in view.of([found]).entries] == expected == [552, 4545, 4480]


def test_what_lacks_one_metric_is_left_out_of_its_front_and_said_so(make: SimpleNamespace) -> None:
    names = ("dense", "soft", "token_choice", "remoe")  # the last one's FLOPs depend on the tokens
    cases = [make.case(name) for name in names]
    found = make.run(cases, [o for i, of in enumerate(cases, 1) for o in make.timed(of, *[0.01 * i] * 3)])
    said = words(pareto.build([found]))
    assert "By parameters, 2 of 4 cases" in said
    assert "By useful FLOPs per token, 2 of 3 cases" in said
    assert said.count("Not drawn: 1 case with unknown useful FLOPs per token.") == 1


def test_without_three_comparable_cases_there_is_no_front(make: SimpleNamespace) -> None:
    assert pareto.build([run(make, (1e3, 4e6), (0.01, 0.02))]) is None
    cases = [make.case(name, batch_size=b) for name in ("dense", "soft") for b in (1, 8)]
    assert pareto.build([make.run(cases, [o for of in cases for o in make.timed(of, 0.01, 0.01)])]) is None
    three = [make.case(name) for name in LAYERS[:3]]
    wrong = [make.inspection(three[2], flags=("inaccurate",), max_abs_error=0.5)]
    assert pareto.build([make.run(three, [*wrong, *(o for of in three for o in make.timed(of, 0.01))])]) is None
    assert pareto.build([make.run(three, [make.failed(of, Status.ERROR, "no") for of in three])]) is None


def test_cases_that_give_the_same_make_no_front(make: SimpleNamespace) -> None:
    cases = [make.case("soft", backend=backend) for backend in layers.find("soft").backends[:3]]
    assert len(cases) == 3
    assert pareto.build([make.run(cases, [o for of in cases for o in make.timed(of, 0.01, 0.02)])]) is None


def test_each_run_and_workload_has_fronts_of_its_own(make: SimpleNamespace) -> None:
    runs = [make.quick(id="a" * 12, name="one"), make.quick(id="b" * 12, name="two")]
    section = pareto.build(runs)
    headings = re.findall(r"<h3>([^<]*)</h3>", str(section.body if section else ""))
    assert headings == ["Batch size 1, one", "Batch size 1, two", "Batch size 8, two"]
    assert "3 of 4 workloads are drawn" in words(section)

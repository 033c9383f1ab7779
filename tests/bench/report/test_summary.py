"""The first screen: sentences read exactly, and nothing is claimed that the figures do not carry."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import caveats, plan
from bench.records import Flag, Status
from bench.report import findings, view
from bench.report.sections import summary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import SimpleNamespace

    from bench.records import Case
    from bench.results import RunResults


def words(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>|<[^>]+>", " ", str(markup), flags=re.DOTALL)).strip()


def claims(found: RunResults) -> dict[str, list[str]]:
    said = findings.of_run(view.of([found]), 0)
    return {workload: [s.replace("\u00a0", " ") for s in sentences] for workload, sentences in said.claims}


AGAINST_DENSE = (
    "Soft MoE · fused, 8 experts takes 2.00 times as long as Dense FFN (95 % interval 2.00 to 2.00), "
    "doing 0.91 times its useful FLOPs."
)
AGAINST_SPARSE = (
    "Soft MoE · fused, 8 experts and the best sparse design (Experts choice · indexed) cannot be told apart "
    "(ratio 1.01, 95 % interval 0.91 to 1.12)."
)


def test_each_workload_has_its_answer(make: SimpleNamespace) -> None:
    assert claims(make.quick()) == {
        "batch size 1": [
            "Dense FFN is the fastest of 5 designs: 1.01 ms per call, 99.0 ktoken/s.",
            AGAINST_DENSE,
            AGAINST_SPARSE,
        ],
        "batch size 8": [
            "Dense FFN is the fastest of 5 designs: 8.08 ms per call, 99.0 ktoken/s.",
            AGAINST_DENSE,
            AGAINST_SPARSE,
        ],
    }


def pair(make: SimpleNamespace, dense: Sequence[float], soft: Sequence[float]) -> RunResults:
    cases = [make.case(), make.case("soft")]
    return make.run(cases, [*make.timed(cases[0], *dense), *make.timed(cases[1], *soft)])


def test_an_interval_with_one_in_it_makes_no_claim(make: SimpleNamespace) -> None:
    found = pair(make, (0.010, 0.011, 0.012), (0.011, 0.010, 0.0125))
    said = " ".join(claims(found)[""])
    assert "is the fastest" not in said
    assert "times as long" not in said
    assert said.count("cannot be told apart") == 2


def test_pairs_of_rounds_see_through_drift(make: SimpleNamespace) -> None:
    found = pair(make, (0.010, 0.020, 0.040), (0.011, 0.022, 0.044))
    assert claims(found)[""][0].startswith("Dense FFN is the fastest of 2 designs: ")
    assert "takes 1.10 times as long as Dense FFN (95 % interval 1.10 to 1.10)" in claims(found)[""][1]


def disturbed(make: SimpleNamespace, rounds: Sequence[int], count: int) -> RunResults:
    cases = [make.case(), make.case("soft")]
    outcomes = [o for of, second in zip(cases, (0.01, 0.02), strict=True) for o in make.timed(of, *[second] * count)]
    busy = [replace(o, flags=(Flag("loaded"),)) if o.repeat in rounds else o for o in outcomes]
    return make.run(cases, busy)


def test_rounds_that_shared_the_machine_make_no_claim(make: SimpleNamespace) -> None:
    assert claims(disturbed(make, [1], 3))[""] == [
        (
            "Dense FFN has the lowest latency (10.0 ms per call, 10.0 ktoken/s) but cannot be told apart "
            "from Soft MoE · fused."
        ),
        (
            "Nothing is claimed of Soft MoE · fused and Dense FFN: other programs used the machine "
            "(ratio 2.00, 95 % interval 2.00 to 2.00)."
        ),
    ]


def test_undisturbed_rounds_decide_where_three_remain(make: SimpleNamespace) -> None:
    assert claims(disturbed(make, [1], 4))[""][0].startswith("Dense FFN is the fastest of 2 designs: ")


def test_a_soft_moe_that_wins_is_said_so(make: SimpleNamespace) -> None:
    found = pair(make, (0.020, 0.021, 0.020), (0.010, 0.0104, 0.0101))
    assert claims(found)[""][0].startswith("Soft MoE · fused is the fastest of 2 designs: 10.2 ms per call")
    assert "Soft MoE · fused takes 0.50 times as long as Dense FFN" in claims(found)[""][1]


def test_one_round_is_too_few_for_a_claim(make: SimpleNamespace) -> None:
    said = claims(pair(make, (0.010,), (0.030,)))[""]
    assert said[0] == (
        "Dense FFN has the lowest latency (10.0 ms per call, 10.0 ktoken/s) but cannot be told apart "
        "from Soft MoE · fused."
    )
    assert said[1] == "Soft MoE · fused took 3.00 times as long as Dense FFN, from a single round: too few for a claim."


def test_only_layers_that_choose_experts_are_called_sparse(make: SimpleNamespace) -> None:
    cases = [make.case(name) for name in ("soft", "dense_active", "smear", "uniform", "hash_routing")]
    outcomes = [o for i, of in enumerate(cases) for o in make.timed(of, *[0.05 if i == 4 else 0.01 * (4 - i)] * 3)]
    said = " ".join(claims(make.run(cases, outcomes))[""])
    assert said.startswith("Soft MoE, uniform · fused is the fastest of 5 designs")
    assert said.count("times as long as") == 1
    assert "Soft MoE · fused takes 0.80 times as long as Hash routing · grouped" in said


def test_the_best_of_several_dense_layers_is_called_dense(make: SimpleNamespace) -> None:
    cases = [make.case("soft"), make.case(), make.case(activation="swiglu")]
    outcomes = [o for i, of in enumerate(cases) for o in make.timed(of, *[0.01 * (i + 1)] * 3)]
    said = " ".join(claims(make.run(cases, outcomes))[""])
    assert "as long as the best dense design (Dense FFN, GELU experts)" in said


def test_layers_of_one_width_each_are_compared_and_unusual_widths_are_named(make: SimpleNamespace) -> None:
    cases = [make.case(), make.case("soft"), make.case("gshard", d_ff=16)]
    outcomes = [o for i, of in enumerate(cases) for o in make.timed(of, *[0.01 * (i + 1)] * 3)]
    found = claims(make.run(cases, outcomes))
    assert list(found) == [""]
    assert "times as long as GShard (top-2) · grouped, hidden width 16 (" in found[""][2]


def test_one_layer_at_several_widths_makes_workloads(make: SimpleNamespace) -> None:
    cases = [make.case(d_ff=width) for width in (16, 32)]
    outcomes = [o for of in cases for o in make.timed(of, 0.01, 0.01, 0.01)]
    assert list(claims(make.run(cases, outcomes))) == ["hidden width 16", "hidden width 32"]


def test_rounds_that_never_meet_say_nothing(make: SimpleNamespace) -> None:
    cases = [make.case(), make.case("soft")]
    outcomes = [*make.timed(cases[0], 0.01), make.timed(cases[1], 0.02, 0.03)[1]]
    assert claims(make.run(cases, outcomes))[""][1] == (
        "Soft MoE · fused and Dense FFN were never timed in the same round, so nothing can be said of the two."
    )


def test_many_ties_are_counted_not_listed(make: SimpleNamespace) -> None:
    cases = [make.case("soft", num_experts=n) for n in (2, 4, 8, 16)]
    figures = ((1.0, 1.2, 1.1), (1.2, 1.0, 1.15), (1.1, 1.25, 1.05), (1.3, 1.0, 1.2))
    outcomes = [o for of, seconds in zip(cases, figures, strict=True) for o in make.timed(of, *seconds)]
    assert claims(make.run(cases, outcomes))[""] == [
        (
            "The 4 designs cannot be told apart; Soft MoE · fused, 2 experts has the lowest estimate: 1.10 s per call,"
            " 91.2 token/s."
        ),
    ]


def test_a_single_case_is_stated_with_its_interval(make: SimpleNamespace) -> None:
    of = make.case("soft")
    assert claims(make.run([of], make.timed(of, 0.010, 0.011, 0.012))) == {
        "": ["Soft MoE · fused takes 11.0 ms per call (95 % interval 8.75 to 13.8 ms), 9.12 ktoken/s."]
    }
    assert claims(make.run([of], make.timed(of, 0.010))) == {
        "": ["Soft MoE · fused takes 10.0 ms per call (one process, no interval), 10.0 ktoken/s."]
    }


def test_a_wrong_layer_is_not_ranked(make: SimpleNamespace) -> None:
    cases = [make.case(), make.case("soft")]
    outcomes = [make.inspection(cases[1], flags=("inaccurate",), max_abs_error=1.0)]
    outcomes += [*make.timed(cases[0], 0.02, 0.02, 0.02), *make.timed(cases[1], 0.01, 0.01, 0.01)]
    said = findings.of_run(view.of([make.run(cases, outcomes)]), 0)
    assert said.claims[0][1][0].startswith("Dense FFN takes 20.0 ms per call")
    assert said.notes == (
        "Not ranked, because the output is further from the oracle than the number format explains: Soft MoE · fused.",
    )


def test_a_case_that_failed_later_is_not_ranked(make: SimpleNamespace) -> None:
    cases = [make.case(), make.case("soft")]
    outcomes = [*make.timed(cases[0], 0.02, 0.02), *make.timed(cases[1], 0.01)]
    outcomes.append(make.failed(cases[1], Status.CRASHED, "signal 11", repeat=2))
    found = make.run(cases, outcomes)
    assert findings.of_run(view.of([found]), 0).notes == (
        "1 of 2 cases have no full answer and are not ranked; see Failures.",
    )
    assert claims(found)[""] == ["Dense FFN takes 20.0 ms per call (95 % interval 20.0 to 20.0 ms), 5.00 ktoken/s."]


def test_lost_tokens_stand_beside_speed(make: SimpleNamespace) -> None:
    said = findings.of_run(view.of([make.quick()]), 0)
    assert said.notes == (
        (
            "Speed is not quality: up to 25 % of the tokens reach no expert "
            "(Tokens choice (top-k) · grouped, batch size 1); see Routing."
        ),
    )


def test_head_counts_cases_and_names_device_and_date(make: SimpleNamespace) -> None:
    cases = [make.case(), make.case("soft"), make.case("expert_choice")]
    outcomes = [*make.full(cases[0], 0.01, 0.01), make.failed(cases[1], Status.TIMEOUT, "took longer than 300 s")]
    section = summary.build([make.run(cases, outcomes, state="interrupted")])
    assert section.title == "Is Soft MoE fast here?"
    text = words(section.body)
    assert text.startswith(
        "quick-1 Test CPU, 2 cores 21 September 2026, 14:13 UTC 1 of 3 cases ok 1 failed 1 not measured run interrupted"
    )


def test_gravest_caveats_come_first(make: SimpleNamespace) -> None:
    of = make.case()
    outcomes = [
        make.inspection(of, flags=("counter_incomplete", "loaded", "no_oracle", "from_a_plugin"), peak_memory=1),
        *make.timed(of, 0.01, 0.02),
    ]
    text = words(summary.build([make.run([of], outcomes)]).body)
    care = text[text.index("Read with care") :]
    places = [
        care.index(title) for title in ("From_a_plugin", "Machine was busy", "Few repeats", "2 more under Caveats")
    ]
    assert places == sorted(places)
    assert care.startswith("Read with care From_a_plugin (1 of 1 case).")


def test_without_a_figure_the_page_says_why(make: SimpleNamespace) -> None:
    of = make.case()
    assert "Nothing was measured yet" in words(summary.build([make.run([of], [])]).body)
    bad = make.failed(of, Status.ERROR, "Traceback\nValueError: no")
    assert "No case ended well" in words(summary.build([make.run([of], [bad])]).body)
    looked = make.inspection(of, peak_memory=1)
    assert "none was timed" in words(summary.build([make.run([of], [looked])]).body)
    assert "The run has no case." in words(summary.build([make.run([], [])]).body)


def test_a_run_without_description_is_called_by_its_name(make: SimpleNamespace) -> None:
    assert summary.build([make.run([make.case()], [], description="")]).title == "Run quick-1"
    both = [make.run([make.case()], [], description=text, name=text) for text in ("one", "two")]
    assert summary.build(both).title == "Runs one and two"


# models


def model(moe: str, variant: str = "tiny") -> Case:
    own = {"dense": {}, "soft": {"num_experts": 4, "slots_per_expert": 2}, "token_choice": {"num_experts": 4}}
    return plan.single("vit", {"variant": variant, "moe": moe, **own[moe]})


def test_models_are_compared_by_the_layer_in_their_blocks(make: SimpleNamespace) -> None:
    cases = [model("dense"), model("soft"), model("token_choice")]
    seconds = (0.010, 0.020, 0.030)
    found = make.run(cases, [o for of, s in zip(cases, seconds, strict=True) for o in make.timed(of, s, s, s)])
    (sentences,) = claims(found).values()
    assert sentences[0] == "ViT with Dense FFN is the fastest of 3 designs: 10.0 ms per call, 6.40 ktoken/s."
    assert sentences[1].startswith("ViT with Soft MoE · fused takes 2.00 times as long as ViT with Dense FFN (")
    assert sentences[2].startswith("ViT with Soft MoE · fused takes 0.67 times as long as ViT with Tokens choice")


def test_a_model_is_other_work_than_a_layer_and_than_another_variant(make: SimpleNamespace) -> None:
    layer = plan.single("dense", {"seq_len": 64, "d_model": 192, "d_ff": 768})
    cases = [layer, model("dense"), model("soft"), model("dense", "S/16")]
    found = make.run(cases, [o for of in cases for o in make.timed(of, 0.01, 0.01, 0.01)])
    entries = view.of([found])
    groups = [[entry.short for entry in group] for group in entries.by_workload(entries.timed()).values()]
    assert groups == [
        ["Dense FFN"],
        ["ViT with Dense FFN", "ViT with Soft MoE · fused"],
        ["ViT with Dense FFN"],
    ]
    assert [entry.workload.split(",")[0] for entry in entries.entries] == [
        "64 tokens per sequence",
        "ViT tiny",
        "ViT tiny",
        "ViT S/16",
    ]


def test_every_caveat_has_its_place_among_the_gravest() -> None:
    assert sorted(summary.GRAVEST) == sorted(caveats.TABLE)

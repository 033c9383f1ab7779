"""Where the time goes, of made-up runs: shares to the digit, and a word on every case that has none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bench.records import Observation, Outcome, Status
from bench.report.sections import breakdown

if TYPE_CHECKING:
    from types import SimpleNamespace

    from bench.records import Case
    from bench.report.section import Section

SOFT = {"router": 1e-3, "dispatch": 1e-3, "experts": 6e-3, "combine": 1.5e-3, "other": 0.5e-3}


def split(of: Case, **seconds: float) -> Outcome:
    """The first process, which split a call into phases."""
    whole = sum(seconds.values())
    phases = tuple(Observation(f"{name}_time", "s", (value,)) for name, value in seconds.items())
    return Outcome(of.id, 0, Status.OK, "", (), (*phases, Observation("profiled_time", "s", (whole,))))


def words(section: Section) -> str:
    text = re.sub(r"<svg.*?</svg>|<table.*?</table>", " ", str(section.body), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)).replace("&#39;", "'").strip()


def rows(section: Section) -> list[list[str]]:
    found = re.findall(r"<tr.*?</tr>", str(section.body), flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in found]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]


def descriptions(section: Section) -> list[str]:
    return re.findall(r"<desc[^>]*>([^<]*)</desc>", str(section.body))


def test_shares_are_listed_and_spoken_of_by_kind(make: SimpleNamespace) -> None:
    few, many = make.case("soft", num_experts=8), make.case("soft", num_experts=32)
    outcomes = [
        split(many, router=4e-3, dispatch=1e-3, experts=16e-3, combine=1e-3),
        split(few, **SOFT),
        *make.timed(many, 0.022, 0.022),
        *make.timed(few, 0.010, 0.010),
    ]
    section = breakdown.build([make.run([many, few], outcomes)])
    assert section is not None
    assert (section.id, section.title) == ("breakdown", "Where the time goes")
    assert rows(section) == [
        ["case", "Router", "Dispatch", "Experts", "Combine", "Other", "Profiled call", "profiled / timed"],
        ["Soft MoE · fused, 32 experts", "18.2 %", "4.5 %", "72.7 %", "4.5 %", "–", "22.0 ms", "1.00"],
        ["Soft MoE · fused, 8 experts", "10.0 %", "10.0 %", "60.0 %", "15.0 %", "5.0 %", "10.0 ms", "1.00"],
    ]
    said = words(section)
    assert (
        "Soft MoE · fused: experts take 60 to 73 % of a forward pass, dispatch and combine 9 to 25 %, "
        "router 10 to 18 %." in said
    )
    assert said.endswith("A profiled call took 1.00 times as long as a timed one.")


def test_bars_are_stacked_fastest_case_first_with_the_latency_in_words(make: SimpleNamespace) -> None:
    slow, fast = make.case("soft", num_experts=8), make.case("soft", num_experts=32)
    outcomes = [o for of, s in ((slow, 0.02), (fast, 0.01)) for o in (split(of, **SOFT), *make.timed(of, s, s))]
    section = breakdown.build([make.run([slow, fast], outcomes)])
    assert descriptions(section) == [
        "share of a forward pass in rows. Soft MoE · fused, 32 experts: 10.0 ms; Soft MoE · fused, 8 experts: 20.0 ms."
    ]
    body = str(section.body)
    assert [word in body for word in (">router<", ">dispatch<", ">experts<", ">combine<", ">other<")] == [True] * 5
    assert ">attention<" not in body
    assert "url(#breakdown-0" in body  # hatched, where colour is not seen


def test_phases_that_another_one_includes_are_said_not_drawn_as_zero(make: SimpleNamespace) -> None:
    peer, attended = make.case("peer", num_experts=64), make.case("soft", backend="sdpa")
    outcomes = [split(peer, router=3e-3, experts=1e-3), split(attended, **SOFT)]
    outcomes += [o for of in (peer, attended) for o in make.timed(of, 0.005, 0.005)]
    section = breakdown.build([make.run([peer, attended], outcomes)])
    assert rows(section)[1][1:6] == ["75.0 %", "–", "25.0 %", "–", "–"]
    said = words(section)
    assert "PEER (product keys) · bag: router takes 75 % of a forward pass, experts 25 %." in said
    assert "not there: no dispatch and no combine in PEER (product keys) · bag." in said
    assert "Dispatch and combine include the router's logits in Soft MoE · sdpa." in said


def test_a_profiled_call_far_from_the_timed_one_only_indicates(make: SimpleNamespace) -> None:
    near, far = make.case("soft", num_experts=8), make.case("soft", num_experts=32)
    outcomes = [split(near, **SOFT), split(far, **SOFT), *make.timed(near, 0.008), *make.timed(far, 0.005)]
    said = words(breakdown.build([make.run([near, far], outcomes)]))
    assert (
        "A profiled call took 1.25 to 2.00 times as long as a timed one. In 1 case of 2 the two are more than 1.3 "
        "times apart: there shares only indicate; the table has each." in said
    )


def test_a_latency_with_a_backward_pass_is_not_held_against_the_forward_pass(make: SimpleNamespace) -> None:
    of = make.case("soft", mode="train_step")
    section = breakdown.build([make.run([of], [split(of, **SOFT), *make.timed(of, 0.03)])])
    assert "the forward pass alone is split" in words(section)
    assert "A profiled call took" not in words(section)
    assert rows(section)[1][-1] == "–"


def test_cases_that_are_not_split_are_counted_with_their_reasons(make: SimpleNamespace) -> None:
    of = make.case("soft")
    others = [
        make.case(),
        make.case("dense_active"),
        make.case("soft_moe_pytorch"),
        make.case("soft", backend="compile"),
        make.case("soft", launch="graph"),
        make.case("smear"),
    ]
    outcomes = [split(of, **SOFT), *(o for case in (of, *others) for o in make.timed(case, 0.01))]
    assert words(breakdown.build([make.run([of, *others], outcomes)])).endswith(
        "Not split: 2 cases of a dense layer, which is one phase; 1 case of layers that are not ours, whose phases are "
        "not known; 2 cases compiled or captured as one piece; 1 case of a run that looked at no phases."
    )


def test_models_are_drawn_by_themselves(make: SimpleNamespace) -> None:
    layer, model = make.case("soft"), make.case("vit", variant="tiny", moe="soft", backend="fused")
    outcomes = [split(layer, **SOFT), split(model, attention=0.005, dense=0.005, **SOFT)]
    section = breakdown.build([make.run([layer, model], outcomes)])
    assert re.findall(r'<title id="([\w-]+)-title">', str(section.body)) == ["breakdown-0", "breakdown-model-0"]
    assert ">dense networks<" in str(section.body)
    assert rows(section)[2][1:] == ["25.0 %", "25.0 %", "5.0 %", "5.0 %", "30.0 %", "7.5 %", "2.5 %", "20.0 ms", "–"]


@pytest.mark.parametrize("share", [0.0, 0.0004])
def test_a_tiny_share_is_not_zero(share: float) -> None:
    assert breakdown._percent(share) == "<0.1 %"
    assert breakdown._span([share]) == "under 1 %"


def test_many_kinds_end_in_a_number(make: SimpleNamespace) -> None:
    cases = [
        make.case(name)
        for name in ("soft", "token_choice", "expert_choice", "switch", "gshard", "vmoe", "mixtral", "hash_routing")
    ] + [make.case("soft", backend="einsum"), make.case("soft", backend="sdpa")]
    section = breakdown.build([make.run(cases, [split(of, **SOFT) for of in cases])])
    assert str(section.body).count("<li>") == breakdown.MOST_KINDS + 1
    assert "2 further kinds of layer: see the table." in words(section)


def test_runs_from_before_have_no_such_section(make: SimpleNamespace) -> None:
    assert breakdown.build([make.quick()]) is None

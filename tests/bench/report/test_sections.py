"""Each section: there when it has something to show, absent when not, and right in what it says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import compared
import pytest

from bench.records import Planned, Status
from bench.report import sections as table
from bench.report.section import Section
from bench.report.sections import (
    accuracy,
    caveats,
    comparison,
    environment,
    failures,
    figures,
    flops,
    memory,
    pareto,
    peers,
    reproduce,
    roofline,
    routing,
    scaling,
)  # fmt: skip
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from types import ModuleType, SimpleNamespace

    from bench.results import RunResults


def words(section: Section) -> str:
    text = re.sub(r"<svg.*?</svg>", " ", str(section.body), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)).replace("&#39;", "'").replace("&gt;", ">").strip()


def rows(section: Section) -> list[list[str]]:
    found = re.findall(r"<tr.*?</tr>", str(section.body), flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in found]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]


def rows_of(section: Section, caption: str) -> list[list[str]]:
    """The rows of one table."""
    body = str(section.body)
    start = body.index(f"<caption>{caption}</caption>")
    return rows(Section(section.id, section.title, body[start : body.index("</table>", start)]))


def charts(section: Section) -> dict[str, str]:
    return dict(re.findall(r'<title id="([\w-]+)-title">([^<]*)</title>', str(section.body)))


def test_table_names_every_section_once() -> None:
    assert len(table.TABLE) == len(set(table.TABLE)) == 20


@pytest.mark.parametrize("module", [scaling, memory, flops, routing, accuracy, caveats, peers, pareto, roofline])
def test_sections_without_data_are_absent(make: SimpleNamespace, module: ModuleType) -> None:
    failing = make.case()
    assert module.build([make.run([failing], [make.failed(failing, Status.ERROR, "no")])]) is None


def test_scaling_draws_the_axes_that_vary(make: SimpleNamespace) -> None:
    section = scaling.build([make.quick()])
    assert charts(section) == {
        "scaling-num_experts-0-latency": "Latency, batch size 1",
        "scaling-num_experts-0-throughput": "Throughput, batch size 1",
        "scaling-num_experts-1-latency": "Latency, batch size 8",
        "scaling-num_experts-1-throughput": "Throughput, batch size 8",
        "scaling-batch_size-0-latency": "Latency",
        "scaling-batch_size-0-throughput": "Throughput",
    }
    assert "Dense FFN: 1.01 ms throughout" in str(section.body)
    assert "2.02 ms at 8, 3.03 ms at 32" in str(section.body)


def test_an_axis_of_one_layer_names_lines_and_one_of_several_makes_panels(make: SimpleNamespace) -> None:
    layers = ("soft", "expert_choice")
    cases = [make.case(layer, num_experts=e, batch_size=b) for layer in layers for e in (8, 32) for b in (1, 8)]
    found = scaling.build([make.run(cases, [o for of in cases for o in make.timed(of, 1, 1.1, 1.05)])])
    titles = [title for name, title in charts(found).items() if name.startswith("scaling-batch_size")]
    assert titles == ["Latency, 8 experts", "Throughput, 8 experts", "Latency, 32 experts", "Throughput, 32 experts"]
    assert "Soft MoE · fused, 32 experts: 3.03 ms at 1, 24.2 ms at 8" in str(scaling.build([make.quick()]).body)


def test_scaling_leaves_out_slots_that_follow_from_experts(make: SimpleNamespace) -> None:
    cases = [make.case("soft", num_experts=e, slots_per_expert=64 // e) for e in (2, 4, 8)]
    outcomes = [o for of in cases for o in make.timed(of, 1, 1.1, 1.05)]
    assert list(charts(scaling.build([make.run(cases, outcomes)]))) == [
        "scaling-num_experts-0-latency",
        "scaling-num_experts-0-throughput",
    ]


def test_scaling_adds_total_slots_where_both_factors_vary(make: SimpleNamespace) -> None:
    cases = [make.case("soft", num_experts=e, slots_per_expert=p) for e in (2, 4) for p in (1, 2)]
    outcomes = [o for of in cases for o in make.timed(of, 1, 1.1, 1.05)]
    names = {name.split("-")[1] for name in charts(scaling.build([make.run(cases, outcomes)]))}
    assert names == {"num_experts", "slots_per_expert", "total_slots"}


def test_scaling_over_backends_compares_one_layer_with_itself(make: SimpleNamespace) -> None:
    cases = [make.case("soft", backend=backend) for backend in ("fused", "einsum")]
    outcomes = [o for of in cases for o in make.timed(of, 1, 1.1, 1.05)]
    section = scaling.build([make.run(cases, outcomes)])
    assert list(charts(section)) == ["scaling-backend-0-latency", "scaling-backend-0-throughput"]
    assert "Soft MoE: 1.05 s at fused, 1.05 s at einsum" in str(section.body)


def test_scaling_is_absent_without_two_values(make: SimpleNamespace) -> None:
    cases = [make.case(), make.case("soft")]
    assert scaling.build([make.run(cases, [o for of in cases for o in make.timed(of, 1, 1)])]) is None


def test_dropless_is_a_level_not_a_place_on_the_axis(make: SimpleNamespace) -> None:
    cases = [make.case("token_choice", capacity_factor=c) for c in (1.0, 2.0, None)]
    outcomes = [o for of in cases for o in make.timed(of, 1, 1.1, 1.05)]
    body = str(scaling.build([make.run(cases, outcomes)]).body)
    assert "Tokens choice (top-k) · grouped, dropless: 1.05 s throughout" in body


def test_memory_stacks_weights_and_activations(make: SimpleNamespace) -> None:
    body = str(memory.build([make.quick()]).body)
    assert "Dense FFN: peak 3.00 MiB" in body
    assert ">activations</text>" in body


def test_memory_of_training_is_listed_where_a_case_has_it(make: SimpleNamespace) -> None:
    held = {"parameter_memory": 2**20, "activation_memory": 2**20, "peak_memory": 2**22}
    step, call = make.case(mode="train_step"), make.case()
    outcomes = [
        make.inspection(step, **held, saved_memory=3 * 2**20, optimizer_memory=2**21),
        make.inspection(call, **held),
    ]
    section = memory.build([make.run([step, call], outcomes)])
    assert [row[1:] for row in rows(section)] == [
        ["Saved memory", "Optimizer memory"],
        ["3.00 MiB", "2.00 MiB"],
        ["–", "–"],
    ]
    assert rows(memory.build([make.quick()])) == []


def test_flops_shows_all_counts_and_dashes(make: SimpleNamespace) -> None:
    table = rows(flops.build([make.quick()]))
    assert table[0] == ["case", "useful", "executed", "torch", "fvcore", "torch / executed"]
    assert table[1] == ["Dense FFN, batch size 1", "102 kFLOP", "102 kFLOP", "1.00 MFLOP", "–", "9.77"]


def test_routing_is_for_layers_that_route(make: SimpleNamespace) -> None:
    section = routing.build([make.quick()])
    assert "Dense FFN" not in words(section)
    assert ["Tokens choice (top-k) · grouped, batch size 1", "25 %", "25 %", "1.50×"] in rows(section)
    dense = make.case()
    assert routing.build([make.run([dense], make.full(dense, 1, 1))]) is None


def test_dense_layers_of_a_sparse_size_route_nothing(make: SimpleNamespace) -> None:
    cases = [make.case("dense_active"), make.case("dense_total"), make.case("gshard")]
    found = routing.build([make.run(cases, [o for of in cases for o in make.full(of, 0.01)])])
    assert [row[0] for row in rows(found)] == ["case", "GShard (top-2) · grouped"]


def test_scaling_draws_one_panel_for_layers_of_matched_work(make: SimpleNamespace) -> None:
    widths = {"dense": 32, "soft": 32, "gshard": 16, "vmoe": 16, "deepseek": 8}
    cases = [make.case(name, d_ff=width, batch_size=n) for name, width in widths.items() for n in (1, 8)]
    section = scaling.build([make.run(cases, [o for of in cases for o in make.full(of, 0.01)])])
    assert list(charts(section)) == ["scaling-batch_size-0-latency", "scaling-batch_size-0-throughput"]


def test_routing_without_losses_draws_nothing(make: SimpleNamespace) -> None:
    of = make.case("soft")
    section = routing.build([make.run([of], make.full(of, 1, 1))])
    assert not charts(section)
    assert "No case refused an assignment" in words(section)


def test_accuracy_names_wrong_cases(make: SimpleNamespace) -> None:
    good, bad = make.case(), make.case("soft")
    outcomes = [*make.full(good, 1, 1), *make.full(bad, 1, 1, flags=("inaccurate",), max_abs_error=0.5)]
    section = accuracy.build([make.run([good, bad], outcomes)])
    assert words(section).startswith(
        "1 case of 2 checked lie further from the oracle than the number format explains: Soft MoE · fused."
    )
    assert rows(section)[1:] == [["Dense FFN", "1.00e-07", "100 %"], ["Soft MoE · fused", "0.500", "100 %"]]


def test_figures_have_a_row_per_case_and_dashes_for_the_unknown(make: SimpleNamespace) -> None:
    dense, soft = make.case(), make.case("soft")
    found = make.run([dense, soft], [*make.timed(dense, 0.01, 0.01, 0.01), make.failed(soft, Status.TIMEOUT, "slow")])
    table = rows(figures.build([found]))
    assert table[0] == [
        "layer", "backend", "latency", "95 % interval", "spread within", "spread between", "throughput",
        "peak memory", "FLOPs", "rate", "drop rate", "largest error", "processes", "samples", "status", "caveats",
    ]  # fmt: skip
    assert table[1][:6] == ["Dense FFN", "", "10.0 ms", "10.0 to 10.0 ms", "0 %", "0 %"]
    assert table[1][6:8] == ["10.0 ktoken/s", "–"]
    assert table[1][-4:] == ["3", "18", "ok", ""]
    assert table[2] == ["Soft MoE", "fused", *["–"] * 12, "timeout", ""]


def test_figures_link_caveats(make: SimpleNamespace) -> None:
    of = make.case()
    body = str(figures.build([make.run([of], make.timed(of, 0.01))]).body)
    assert '<a href="#caveat-few_repeats" title="1 of at least 3">few repeats</a>' in body


def test_failures_tell_reasons_once(make: SimpleNamespace) -> None:
    cases = [make.case("soft", num_experts=2**i) for i in range(6)]
    trace = "Traceback (most recent call last):\n  File x\nRuntimeError: <too> big"
    outcomes = [make.failed(of, Status.ERROR, trace) for of in cases[:2]]
    outcomes += [
        make.failed(cases[2], Status.OUT_OF_MEMORY, "needs 20 GiB"),
        make.failed(cases[3], Status.SKIPPED, "odd"),
    ]
    outcomes += make.full(cases[4], 1, 1)
    plan = [*cases[:3], Planned(cases[3], "odd"), *cases[4:]]
    said = words(failures.build([make.run(plan, outcomes)]))
    assert said.startswith("5 of 6 cases have no full answer.")
    assert "error 2 cases RuntimeError: &lt;too> big" in said
    assert "Whole detail Traceback (most recent call last):" in said
    assert "out of memory 1 case needs 20 GiB" in said
    assert "skipped 1 case odd" in said
    assert "not measured 1 case The run ended before this case was measured." in said
    assert "Soft MoE · fused, 16 experts" not in said


def test_cases_that_were_only_inspected_are_named(make: SimpleNamespace) -> None:
    of = make.case()
    said = words(failures.build([make.run([of], [make.inspection(of, peak_memory=1)])]))
    assert "not timed 1 case The case was inspected" in said


def test_failures_are_absent_when_all_went_well(make: SimpleNamespace) -> None:
    assert failures.build([make.quick()]) is None


def test_caveats_say_what_why_and_which(make: SimpleNamespace) -> None:
    of = make.case()
    section = caveats.build([make.run([of], make.timed(of, 0.01))])
    assert words(section) == (
        "Few repeats 1 of 1 case Fewer than 3 processes measured it, so no interval worth the name exists."
        " Raise --repeats. Dense FFN : 1 of at least 3"
    )
    assert 'id="caveat-few_repeats"' in section.body


def test_environment_shows_facts_in_peoples_units(make: SimpleNamespace) -> None:
    section = environment.build([make.quick()])
    assert ["memory", "16.0 GiB"] in rows(section)
    assert ["cpu clock", "2.50 GHz"] in rows(section)
    assert ["cpu quota", "–"] in rows(section)
    assert ["triton", "–"] in rows(section)
    assert re.match(r"Fingerprint of the comparable facts: [0-9a-f]{12} \.", words(section))


def test_reproduce_has_command_grid_and_words(make: SimpleNamespace) -> None:
    section = reproduce.build([make.quick()])
    assert words(section).startswith("softmoe-bench run --grid quick --name quick-1")
    assert ["took", "1 min 30 s"] in rows(section)
    assert ["setting repeats", "3 (fresh processes that time each case)"] in rows(section)
    assert "name = &#34;quick&#34;" in section.body
    assert "Unknown: not measured" in words(section)


def two(make: SimpleNamespace, factor: float = 2.0, **more: object) -> list[RunResults]:
    base = make.quick(id="a" * 12, name="before")
    of = [result.case for result in base.cases]
    outcomes = []
    for result in base.cases[:-1]:
        seconds = result.figures["latency"].by_repeat.values()
        outcomes += make.timed(result.case, *(s * factor for s in seconds))
    outcomes.append(make.failed(of[-1], Status.CRASHED, "signal 11"))
    return [base, make.run(of, outcomes, id="b" * 12, name="after", **more)]


def test_two_runs_are_compared_worst_first(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    base, candidate = two(make)
    ids = [result.case.id for result in base.cases]
    rows = [compared.case(f"case {i}", Verdict.SLOWER, 2.0 + i, id=key) for i, key in enumerate(ids[:-1])]
    rows.append(compared.case("last", Verdict.FAILED, id=ids[-1], reason="crashed: signal 11"))
    found = compared.compared(rows, method="Ratio of medians, as it says itself.", remarks=("Beware of <this>.",))
    monkeypatch.setattr(comparison.compare, "compare", lambda *runs: found if runs == (base, candidate) else None)
    section = comparison.build([base, candidate])
    assert section.title == "after against before"
    assert words(section).startswith(
        "9 of 10 cases compared: 9 slower, 1 failed. Beware of &lt;this>. Ratio of medians, as it says itself."
    )
    table = rows_of(section, "Verdicts, worst first")
    assert "ratio without reference" not in table[0]  # no case has one
    assert [row[6] for row in table[1:]] == ["slower"] * 9 + ["failed"]
    first = ["Dense FFN, batch size 1", "1.00 ms", "2.00 ms", "2.00", "1.95 to 2.05", "–", "slower", ""]
    assert table[-2] == first
    assert table[-1][-1] == "crashed: signal 11"
    assert charts(section) == {"comparison-chart": "Latency ratio, worst first"}


def test_a_ratio_without_the_reference_kernel_has_a_column_where_there_is_one() -> None:
    row = compared.case("soft", Verdict.SAME, 1.0)
    shown = comparison.show(compared.compared([replace(row, raw=row.ratio)]), {})
    table = rows_of(Section("comparison", "x", shown), "Verdicts, worst first")
    assert (table[0][5], table[1][5]) == ("ratio without reference", "1.00")


def test_exact_figures_and_layers_have_tables_of_their_own() -> None:
    section = Section("comparison", "x", comparison.show(compared.mixed(), {}))
    assert rows_of(section, "Figures without noise that differ")[1:] == [
        ["peer/bag", "peak memory", "2.00 MiB", "3.00 MiB", "+50 %", "worse"],
        ["peer/bag", "FLOPs", "1.00 MFLOP", "900 kFLOP", "-10 %", "within what is allowed"],
    ]
    layers = rows_of(section, "By layer")
    assert layers[1] == ["soft", "3", "1.03", "1.21", "soft/fused experts=32"]
    assert [row[0] for row in layers[1:]] == ["soft", "dense", "expert_choice", "peer"]
    unclear = next(row for row in rows_of(section, "Verdicts, worst first") if row[6] == "unclear")
    assert unclear[5:] == ["12 %", "unclear", "about 15 pairs would settle it (5 so far, 12 s each)"]
    alone = comparison.show(compared.compared([compared.case("soft", Verdict.SAME, 1.0)]), {})
    assert "By layer" not in alone
    assert "Figures without noise" not in alone


def test_runs_of_two_machines_are_not_compared(make: SimpleNamespace) -> None:
    section = comparison.build(two(make, comparable={"cpu": "Other CPU"}))
    assert words(section).startswith("No change of code can be judged")
    assert rows(section) == [["fact", "before", "after"], ["cpu", "Test CPU", "Other CPU"]]


def test_one_or_three_runs_are_not_compared(make: SimpleNamespace) -> None:
    pair = two(make)
    assert comparison.build(pair[:1]) is None
    assert comparison.build([*pair, pair[0]]) is None


def test_several_runs_keep_their_names(make: SimpleNamespace) -> None:
    runs = two(make)
    table = rows(figures.build(runs))
    assert table[0][:2] == ["layer", "run"]
    assert [row[1] for row in table[1:]] == ["before"] * 10 + ["after"] * 10
    assert "Dense FFN [after]: 2.02 ms throughout" in str(scaling.build(runs).body)
    assert rows(environment.build(runs))[0] == ["fact", "before", "after"]


def test_scaling_keeps_the_lines_where_level_ones_fill_the_chart(make: SimpleNamespace) -> None:
    cases = [make.case("soft", backend=backend) for backend in ("fused", "einsum")]
    cases += [make.case(layer) for layer in ("dense", "mixture_of_experts", "st_moe_pytorch", "soft_moe_pytorch")]
    cases += [make.case("dense", activation="swiglu"), make.case("soft_moe_bwconrad")]
    cases += [make.case("soft_mixture_of_experts"), make.case("st_moe_pytorch", top_k=3)]
    outcomes = [o for of in cases for o in make.timed(of, 1, 1.1, 1.05)]
    section = scaling.build([make.run(cases, outcomes)])
    assert "Soft MoE: 1.05 s at fused, 1.05 s at einsum" in str(section.body)
    assert "1 line beyond the first 8 of a chart left out" in words(section)

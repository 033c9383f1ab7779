"""The same case on several devices: who is how many times as fast, and what else differs is said, never mixed up."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.records import Flag, Status
from bench.report import view
from bench.report.sections import comparison, devices, figures, flops, memory, scaling, summary

if TYPE_CHECKING:
    from types import SimpleNamespace

    from bench.report.section import Section
    from bench.results import RunResults

CPU, GPU = "Test CPU, 2 cores", "NVIDIA H100 80GB HBM3"


def said(section: Section | None) -> list[str]:
    assert section is not None
    lines = re.findall(r"<li>(.*?)</li>", str(section.body))
    return [re.sub(r"<[^>]+>", "", line).replace("\u00a0", " ") for line in lines]


def table(section: Section | None) -> list[list[str]]:
    assert section is not None
    body = str(section.body)
    body = body[body.index("<caption>The same cases") :]
    found = re.findall(r"<tr.*?</tr>", body[: body.index("</table>")], flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in found]
    return [[re.sub(r"<[^>]+>", "", cell).replace("\u00a0", " ") for cell in row] for row in cells]


def two(make: SimpleNamespace, *factors: float, **more: object) -> list[RunResults]:
    cases = [make.case(), make.case("soft")]
    base = make.run(
        cases,
        [*make.full(cases[0], 0.010, 0.0101, 0.0102), *make.full(cases[1], 0.020, 0.0201, 0.0202)],
        name="cpu-1",
        id="a" * 12,
    )
    return [base, make.on_gpu(base, *factors, **more)]


def test_one_device_is_no_section(make: SimpleNamespace) -> None:
    pair = two(make, 2.0)
    assert devices.build(pair[:1]) is None
    assert devices.build([pair[0], pair[0]]) is None
    assert devices.build([make.run([], [])]) is None


def test_the_faster_device_is_named_with_its_range(make: SimpleNamespace) -> None:
    assert said(devices.build(two(make, 5.0, 80.0))) == [
        (
            f"{GPU} is faster than {CPU} in 2 of 2 cases that both have: from 5.00 times in Dense FFN "
            "(95 % interval 4.89 to 5.11) to 80.0 times in Soft MoE · fused (95 % interval 79.1 to 80.9), "
            "geometric mean 20.0 times."
        )
    ]


def test_each_case_has_both_figures_and_their_ratio(make: SimpleNamespace) -> None:
    assert table(devices.build(two(make, 5.0, 80.0))) == [
        [
            *("case", "h100-1, times as fast as cpu-1", "95 % interval"),
            *("latency, cpu-1", "latency, h100-1", "throughput, cpu-1", "throughput, h100-1"),
        ],
        ["Dense FFN", "5.00", "4.89 to 5.11", "10.1 ms", "2.02 ms", "9.90 ktoken/s", "49.5 ktoken/s"],
        ["Soft MoE · fused", "80.0", "79.1 to 80.9", "20.1 ms", "251 µs", "4.98 ktoken/s", "398 ktoken/s"],
    ]


def test_each_device_may_win_its_cases_and_ties_are_no_claims(make: SimpleNamespace) -> None:
    lines = said(devices.build(two(make, 4.0, 0.5)))
    assert lines[0].startswith(f"{GPU} is faster than {CPU} in 1 of 2 cases that both have: 4.00 times in Dense FFN (")
    assert lines[1].startswith(
        f"{CPU} is faster than {GPU} in 1 of 2 cases that both have: 2.00 times in Soft MoE · fused ("
    )
    assert said(devices.build(two(make, 1.001))) == [f"In 2 of 2 cases {GPU} and {CPU} cannot be told apart."]


def test_what_else_differs_is_said(make: SimpleNamespace) -> None:
    pair = two(make, 5.0, comparable={"torch": "2.14.0", "tf32": True})
    lines = said(devices.build(pair))
    together = "A ratio is of all of it together."
    assert f"Not only the device differs between {CPU} and {GPU}: torch (2.13.0; 2.14.0). {together}" in lines
    assert any(line.startswith(f"float32 on {GPU} is computed in TF32") for line in lines)
    assert not any("TF32" in line or "Not only" in line for line in said(devices.build(two(make, 5.0))))


def test_another_number_format_is_another_case(make: SimpleNamespace) -> None:
    base, fast = two(make, 5.0)
    half = [result.case.with_axes(device="cuda", dtype="bfloat16") for result in base.cases]
    fast = make.run(half, [o for of in half for o in make.full(of, 1e-3, 1e-3, 1.01e-3)], name="h100-1",
                    comparable=dict(fast.run.environment.comparable))  # fmt: skip
    lines = said(devices.build([base, fast]))
    assert lines[0] == f"{GPU} and {CPU} have no case in common."
    assert lines[1] == (
        f"Not compared: 2 cases of {CPU} without the same case on another device: "
        "they differ in number format (float32; there bfloat16)."
    )
    assert "<table" not in str(devices.build([base, fast]).body)


def test_failed_wrong_and_disturbed_cases_make_no_claim(make: SimpleNamespace) -> None:
    base, fast = two(make, 5.0)
    outcomes = [o for result in fast.cases for o in result.outcomes]
    of = fast.cases[0].case
    broken = [*outcomes, make.failed(of, Status.CRASHED, "signal 11", repeat=4)]
    lines = said(devices.build([base, make.run([r.case for r in fast.cases], broken, comparable={"gpu": GPU})]))
    assert "Not compared: 1 of 2 cases, which have no good result on one of the two; see Failures." in lines
    busy = [replace(o, flags=(Flag("loaded"),)) for o in outcomes]
    lines = said(devices.build([base, make.run([r.case for r in fast.cases], busy, comparable={"gpu": GPU})]))
    assert lines[0] == (
        "Not compared: 2 of 2 cases, which shared the machine with other programs, so that nothing is claimed."
    )


def test_one_run_with_two_devices_is_told_apart_too(make: SimpleNamespace) -> None:
    base, fast = two(make, 5.0)
    mixed = make.run(
        [result.case for found in (base, fast) for result in found.cases],
        [o for found in (base, fast) for result in found.cases for o in result.outcomes],
        comparable={"gpu": GPU},
    )
    section = devices.build([mixed])
    assert said(section)[0].startswith(f"{GPU} is faster than {CPU} in 2 of 2 cases")
    assert table(section)[0][1:4] == ["cuda, times as fast as cpu", "95 % interval", "latency, cpu"]


def test_three_devices_are_held_against_the_first(make: SimpleNamespace) -> None:
    base, fast = two(make, 5.0)
    faster = make.on_gpu(base, 10.0, name="h200-1", id="c" * 12, comparable={"gpu": "NVIDIA H200"})
    section = devices.build([base, fast, faster])
    lines = said(section)
    assert [line.split(" is faster")[0] for line in lines if "is faster" in line] == [GPU, "NVIDIA H200"]
    assert "5.00 / 10.0" in str(section.body)
    assert "<caption>Facts that differ</caption>" in section.body


def test_two_runs_of_one_device_keep_their_names(make: SimpleNamespace) -> None:
    base, fast = two(make, 5.0)
    again = make.on_gpu(base, 6.0, name="h100-2", id="c" * 12)
    lines = said(devices.build([base, fast, again]))
    assert [line.split(" is faster")[0] for line in lines] == [f"{GPU} [h100-1]", f"{GPU} [h100-2]"]


def test_no_chart_and_no_sentence_mixes_devices(make: SimpleNamespace) -> None:
    base = make.quick(name="cpu-1", id="a" * 12)
    runs = [base, make.on_gpu(base, 5.0)]
    for build in (summary.build, scaling.build, memory.build, flops.build):
        for chart in re.findall(r"<title id=\"[^\"]*\">([^<]*)</title><desc[^>]*>([^<]*)", str(build(runs).body)):
            assert not ("[cpu-1]" in chart[1] and "[h100-1]" in chart[1]), chart[0]
    assert {entry.workload for entry in view.of(runs).entries} == {
        f"batch size {n}, {device}" for n in (1, 8) for device in ("cpu", "cuda")
    }
    assert "No change of code can be judged" in comparison.build(runs).body
    assert str(figures.build(runs).body).count("<td>h100-1</td>") == 10

"""Roofline: which bound, which share of the roof, and what is said where no roof is known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bench import results
from bench.records import Ceiling, Planned
from bench.report.sections import roofline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import SimpleNamespace

    from bench.records import Case, Outcome
    from bench.report.section import Section
    from bench.results import RunResults

H100 = {"gpu": "NVIDIA H100 80GB HBM3", "gpu_sm_count": 132, "gpu_memory_bytes": int(79.6 * 2**30)}


def words(section: Section | None) -> str:
    assert section is not None
    text = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", str(section.body), flags=re.DOTALL)
    return re.sub(r"\s+", " ", text.replace("\u00a0", " "))


def rows(section: Section | None) -> list[list[str]]:
    assert section is not None
    found = re.findall(r"<tr.*?</tr>", str(section.body).replace("\u00a0", " "), flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in found]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells]


def ceilings(flops: float | None = 400e6, bandwidth: float | None = 100e6, **more: float) -> list[Ceiling]:
    figures = {"float32": flops, "bandwidth": bandwidth, **more}
    unit = {"bandwidth": "B/s", "cache": "B"}
    return [
        Ceiling(more.get("device", "cpu"), what, unit.get(what, "FLOP/s"), (value,))
        for what, value in figures.items()
        if value is not None
    ]


def held(found: RunResults, measured: Sequence[Ceiling]) -> RunResults:
    """The same run on a machine that was calibrated."""
    outcomes = [outcome for result in found.cases for outcome in result.outcomes]
    return results.of_outcomes(found.run, [Planned(result.case) for result in found.cases], outcomes, measured)


def small(make: SimpleNamespace, dense: float = 0.001, soft: float = 0.002, **axes: object) -> RunResults:
    """Dense: 102,400 FLOP and 21,408 B, so 4.78 FLOP/B; soft: 93,184 FLOP and 34,052 B, so 2.74 FLOP/B."""
    cases = [make.case(**axes), make.case("soft", **axes)]
    return make.run(cases, [*looked(make, cases[0], dense), *looked(make, cases[1], soft)])


def looked(make: SimpleNamespace, of: Case, seconds: float) -> list[Outcome]:
    """A case that was inspected, and timed by three processes."""
    return [make.inspection(of), *make.timed(of, *[seconds] * 3)]


def test_bound_and_share_of_each_case_worst_first(make: SimpleNamespace) -> None:
    section = roofline.build([held(small(make), ceilings())])
    assert rows(section) == [
        [
            "case", "bound by", "FLOP per byte", "attained", "roof", "share of the roof", "95 % interval", "latency",
            "at the roof", "remark",
        ],
        [
            "Soft MoE · fused", "bandwidth", "2.74", "46.6 MFLOP/s", "274 MFLOP/s", "17 %", "17 % to 17 %", "2.00 ms",
            "341 µs", "",
        ],
        [
            "Dense FFN", "compute", "4.78", "102 MFLOP/s", "400 MFLOP/s", "26 %", "26 % to 26 %", "1.00 ms", "256 µs",
            "",
        ],
    ]  # fmt: skip
    assert (
        "Of 2 cases, 1 is bound by compute and 1 by bandwidth. They reach 17 % to 26 % of their roof, the median "
        "21 %; the most could be gained by Soft MoE · fused."
    ) in words(section)


def test_the_chart_says_in_words_what_it_shows(make: SimpleNamespace) -> None:
    body = str(getattr(roofline.build([held(small(make), ceilings())]), "body", "")).replace("\u00a0", " ")
    assert re.findall(r'<title id="([\w-]+)-title">([^<]*)</title>', body) == [
        ("roofline-0", "Roofline, float32 on Test CPU")
    ]
    assert (
        "under a roof (measured here: 400 MFLOP/s, 100 MB/s). Soft MoE · fused: 46.6 MFLOP/s at 2.74 FLOP/B, 17 % of "
        "the roof; Dense FFN: 102 MFLOP/s at 4.78 FLOP/B, 26 % of the roof."
    ) in body
    assert ">measured here: 400 MFLOP/s, 100 MB/s</text>" in body


def test_all_bound_by_one_are_said_so(make: SimpleNamespace) -> None:
    assert "All 2 cases are bound by bandwidth." in words(roofline.build([held(small(make), ceilings(1e9))]))
    assert "All 2 cases are bound by compute." in words(roofline.build([held(small(make), ceilings(1.1e8))]))


def test_without_a_ceiling_the_points_stand_alone(make: SimpleNamespace) -> None:
    section = roofline.build([small(make)])
    assert (
        "The points stand alone, as no ceiling was measured here; softmoe-bench calibrate measures it, also after "
        "the run, with the same --store."
    ) in words(section)
    assert rows(section) == []
    assert "no roof is known" in str(section.body if section else "")


@pytest.mark.parametrize(("lost", "what"), [({"bandwidth": None}, "bandwidth"), ({"flops": None}, "FLOP/s")])
def test_half_a_roof_is_none(make: SimpleNamespace, lost: dict[str, None], what: str) -> None:
    said = words(roofline.build([held(small(make), ceilings(**lost))]))
    assert f"The points stand alone, as the {what} was not measured here;" in said


def test_ceilings_of_other_threads_do_not_hold(make: SimpleNamespace) -> None:
    said = words(roofline.build([held(small(make, threads=1), ceilings())]))
    assert "as what softmoe-bench calibrate measures does not hold for 1 thread." in said


def test_a_case_above_its_roof_is_explained_by_caches(make: SimpleNamespace) -> None:
    section = roofline.build([held(small(make, soft=0.0003), ceilings())])
    assert "Above the roof because caches keep bytes that the count takes to memory: Soft MoE · fused." in words(
        section
    )
    assert [(row[0], row[5], row[-1]) for row in rows(section)[1:]] == [
        ("Dense FFN", "26 %", ""),
        ("Soft MoE · fused", "114 %", "caches keep bytes"),
    ]


def test_a_case_above_the_ceiling_is_suspect_and_one_hardly_above_is_not(make: SimpleNamespace) -> None:
    section = roofline.build([held(small(make, dense=0.0001), ceilings())])
    assert "Not to be believed, as above what the device can do: Dense FFN." in words(section)
    assert "Ringed: faster than its device can be." in words(section)
    assert '<a href="#caveat-suspect"' in str(section.body if section else "")
    near = roofline.build([held(small(make, dense=102_400 / 412e6), ceilings())])
    assert "Above the roof by less than a ceiling is certain to: Dense FFN." in words(near)
    assert "Ringed" not in words(near)


def test_a_data_sheet_is_a_second_roof_and_the_only_one_without_calibration(make: SimpleNamespace) -> None:
    found = small(make, device="cuda", dtype="bfloat16")
    gpu = make.run(
        [result.case for result in found.cases], [o for r in found.cases for o in r.outcomes], comparable=H100
    )
    alone = roofline.build([gpu])
    assert "Roofline, bfloat16 on NVIDIA H100 80GB HBM3" in str(alone.body if alone else "")
    assert "The roof is that of the data sheet, as no ceiling was measured here;" in words(alone)
    measured = [
        Ceiling("cuda", "bfloat16", "FLOP/s", (7e14,)),
        Ceiling("cuda", "bandwidth", "B/s", (3e12,)),
    ]
    both = roofline.build([held(gpu, measured)])
    assert "under a roof (measured here: 700 TFLOP/s, 3.00 TB/s and data sheet: 989 TFLOP/s, 3.35 TB/s)" in str(
        both.body if both else ""
    )
    assert "data sheet" not in words(both)
    assert "stroke-dasharray" in str(both.body if both else "")


def test_each_number_format_has_a_roof_of_its_own(make: SimpleNamespace) -> None:
    cases = [make.case(dtype=dtype) for dtype in ("float32", "bfloat16")]
    found = make.run(cases, [o for of in cases for o in looked(make, of, 0.001)])
    section = roofline.build([held(found, [*ceilings(), Ceiling("cpu", "bfloat16", "FLOP/s", (2e8,))])])
    said = words(section)
    assert "float32 on Test CPU: Dense FFN, float32 is bound by compute and reaches 26 % of its roof." in said
    assert "bfloat16 on Test CPU: Dense FFN, bfloat16 is bound by compute and reaches 51 % of its roof." in said
    assert len(re.findall(r'<title id="roofline-\d-title">', str(section.body if section else ""))) == 2


def test_cases_without_bytes_are_counted_and_without_any_the_section_is_absent(make: SimpleNamespace) -> None:
    step, call = make.case(mode="train_step"), make.case()  # the traffic of a step depends on the optimizer
    outcomes = [o for of in (step, call) for o in looked(make, of, 0.001)]
    assert "Not here: 1 timed case without a formula" in words(roofline.build([make.run([step, call], outcomes)]))
    assert roofline.build([make.run([step], looked(make, step, 0.001))]) is None

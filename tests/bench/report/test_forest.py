"""The forest plot, and the first screen of a duel that leads with it."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import compared

from bench import results
from bench.records import Observation, Outcome, Planned, Status
from bench.report import render
from bench.report.forest import LOOKS, MOST_ROWS, forest, labelled
from bench.report.placing import Box, place
from bench.report.sections import comparison, summary
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from types import SimpleNamespace

    from bench.results import RunResults
    from bench.verdicts import Comparisons


def words(markup: object) -> str:
    text = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", str(markup), flags=re.DOTALL)
    return re.sub(r"\s+", " ", text).replace(" .", ".").strip()


def drawn(found: Comparisons) -> str:
    return str(forest("f", found, labelled(found, {})))


def described(markup: str) -> str:
    return re.search(r'<desc id="[\w-]+">([^<]*)</desc>', markup)[1]


def test_ratios_stand_worst_first_with_interval_and_verdict_in_words() -> None:
    found = compared.compared(
        [
            compared.case("soft", Verdict.SAME, 1.0),
            compared.case("dense", Verdict.FASTER, 0.8),
            compared.case("peer", Verdict.SLOWER, 1.21),
            compared.case("smear", Verdict.UNCLEAR, 1.04),
        ]
    )
    assert described(drawn(found)) == (
        "candidate / base in latency, below 1 the candidate is faster in rows. peer: 1.21 (1.16 to 1.26) slower; "
        "smear: 1.04 (0.99 to 1.09) unclear; dense: 0.80 (0.75 to 0.85) faster; soft: 1.00 (0.95 to 1.05) same."
    )
    assert words(drawn(found)) == (
        "The band is a change of less than 5 %, the threshold; whiskers are 95 % intervals over pairs."
    )


def test_no_verdict_is_told_by_colour_alone() -> None:
    assert len({look.marker for look in LOOKS.values()}) == len(LOOKS) == 4
    assert len({look.colour for look in LOOKS.values()}) == 4


def test_the_line_of_no_change_is_on_the_chart_however_far_the_ratios_are() -> None:
    text = drawn(compared.compared([compared.case("soft", Verdict.SLOWER, 3.0)]))
    assert ">1</text>" in text
    assert ">3</text>" in text


def test_a_narrow_chart_has_more_than_one_tick() -> None:
    text = drawn(compared.compared([compared.case("soft", Verdict.SAME, 1.0)]))
    assert {">0.8</text>", ">1</text>", ">1.2</text>"} <= set(re.findall(r">[\d.]+</text>", text))


def test_what_has_no_ratio_or_no_room_is_counted() -> None:
    rows = [compared.case(f"case {i}", Verdict.SLOWER, 1.5 + i / 100) for i in range(20)]
    rows += [compared.case(f"quick {i}", Verdict.FASTER, 0.5 + i / 100) for i in range(10)]
    rows += [compared.case("gone", Verdict.MISSING), compared.case("broken", Verdict.FAILED)]
    text = drawn(compared.compared(rows, replicate="process"))
    assert described(text).count(";") == MOST_ROWS - 1
    assert described(text).rstrip(".").endswith("quick 0: 0.50 (0.45 to 0.55) faster")  # the best beside the worst
    assert words(text).endswith(
        "over processes. Without a ratio: 1 failed, 1 missing. Not drawn: 5 further cases (5 faster); the table of "
        "verdicts has them."
    )


def test_long_names_are_kept_whole_and_intervals_only_drawn() -> None:
    name = "Tokens choice (top-k) · grouped, 16 experts, batch size 32"
    found = compared.compared([compared.case("soft", Verdict.SLOWER, 1.21)])
    text = str(forest("f", found, {found.rows[0].case_id: name}))
    assert f">{name}</text>" in text
    assert f"{name}: 1.21 slower." in described(text)


def test_without_a_ratio_there_is_no_chart() -> None:
    assert drawn(compared.compared([compared.case("gone", Verdict.MISSING)])) == ""


def duel(make: SimpleNamespace, ratio: float = 1.25) -> RunResults:
    """A dense layer that got slower, a soft one that is the same, one that fails."""
    cases = [make.case(), make.case("soft"), make.case("token_choice")]
    outcomes = [make.failed(cases[2], Status.CRASHED, "signal 11")]
    for of, log in ((cases[0], math.log(ratio)), (cases[1], 0.0)):
        for pair, offset in enumerate((0.001, -0.002, 0.001, 0.002, -0.002), 1):
            seen = (
                Observation("latency", "s", (1e-3 * math.exp(log + offset),) * 20),
                Observation("base_latency", "s", (1e-3,) * 20),
            )
            outcomes.append(Outcome(of.id, pair, Status.OK, "", (), seen, {"outputs_differ_by": 0.0}))
    found = make.run(cases, outcomes, name="duel-quick-1")
    told = {"base": "main (abc1234)", "candidate": "pr-17", "axis": None, "looks": [3, 5], "threshold": 0.05}
    return results.of_outcomes(
        replace(found.run, settings={**found.run.settings, "duel": {**told, "thresholds": {}}}),
        [Planned(of) for of in cases],
        outcomes,
    )


def test_the_first_screen_of_a_duel_leads_with_the_comparison(make: SimpleNamespace) -> None:
    section = summary.build([duel(make)])
    assert section.title == "pr-17 against main (abc1234)"
    claims = re.search(r'<ul class="claims">(.*?)</ul>', str(section.body), flags=re.DOTALL)[1]
    assert [words(line) for line in claims.split("</li>")][:4] == [
        "1 of 3 cases is slower, 1 fails, worst 1.25x (1.25 to 1.25): Dense FFN.",
        "2 of 3 cases compared: 1 slower, 1 failed, 1 same.",
        "Dense FFN: 1.25x in its one case.",
        "Soft MoE: 1.00x in its one case.",
    ]
    charts = re.findall(r'<title id="([\w-]+)-title">([^<]*)</title>', str(section.body))
    assert charts == [("summary-forest", "Latency ratio, worst first")]
    assert "Dense FFN: 1.25 (1.25 to 1.25) slower; Soft MoE · fused: 1.00 (1.00 to 1.00) same." in str(section.body)


def test_a_duels_comparison_has_every_verdict_and_no_second_chart(make: SimpleNamespace) -> None:
    section = comparison.build([duel(make)])
    assert section is not None
    assert section.title == "Comparison"
    assert "<svg" not in section.body
    names = re.findall(r'<th scope="row">([^<]*)</th>', str(section.body))
    assert names[:3] == ["Dense FFN", "Tokens choice (top-k) · grouped", "Soft MoE · fused"]
    page = render([duel(make)])
    assert page.index('id="summary-forest-title"') < page.index('<section id="comparison">')
    assert page == render([duel(make)])


def test_an_improvement_is_said_too(make: SimpleNamespace) -> None:
    text = words(summary.build([duel(make, 0.8)]).body)
    assert "1 of 3 cases fails" in text
    assert "1 failed, 1 faster, 1 same" in text


def test_a_label_goes_where_it_hides_nothing() -> None:
    free = place((50, 50), 7, 11, [Box(45, 45, 55, 55)], (100, 100))
    assert (free.left, free.low) == (56, 54.2)
    taken = [Box(45, 45, 55, 55), free]
    second = place((50, 50), 7, 11, taken, (100, 100))
    assert all(second.overlap(box) == 0 for box in taken)
    corner = place((98, 98), 7, 11, [Box(93, 93, 103, 103)], (100, 100))
    assert corner.right <= 100
    assert corner.high <= 100

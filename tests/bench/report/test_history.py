"""The history in the report: there with three runs of one machine, and right in what it says and draws."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench.records import Planned, Status
from bench.report.sections import history

if TYPE_CHECKING:
    from types import SimpleNamespace

    from bench.report.section import Section
    from bench.results import RunResults


def runs(make: SimpleNamespace, levels: list[float], *, cases: int = 1, **more: object) -> list[RunResults]:
    """A run for each level; the first case follows it, the others stay as they are."""
    asked = [make.case("soft", batch_size=i + 1) for i in range(cases)]
    return [
        make.run(
            [Planned(case) for case in asked],
            [
                outcome
                for i, case in enumerate(asked)
                for outcome in make.timed(case, *(scale * (level if i == 0 else 1.0) for scale in (0.999, 1.0, 1.001)))
            ],
            name=f"quick-{number}",
            id=f"{number:012x}",
            **more,
        )
        for number, level in enumerate(levels, 1)
    ]


def text(section: Section) -> str:
    shown = re.sub(r"<svg.*?</svg>", " ", str(section.body), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown))


def described(section: Section) -> list[str]:
    return re.findall(r'<desc id="[^"]+">([^<]*)</desc>', str(section.body))


def test_two_runs_are_a_comparison_and_three_a_history(make: SimpleNamespace) -> None:
    made = runs(make, [1.0, 1.0, 1.0])
    assert history.build(made[:2]) is None
    found = history.build(made)
    assert found is not None
    assert "change points need at least 8 runs, this has 3" in text(found)


def test_three_runs_of_three_machines_are_no_history(make: SimpleNamespace) -> None:
    made = [runs(make, [1.0], comparable={"cpu": name})[0] for name in ("one", "two", "three")]
    assert history.build(made) is None


def test_a_change_is_drawn_and_said_in_words_and_in_the_text_of_the_chart(make: SimpleNamespace) -> None:
    found = history.build(runs(make, [1.0] * 6 + [1.25] * 6, cases=2))
    assert found is not None
    assert "Over 12 runs, quick-1 to quick-12, the level of 1 of 2 cases changed by 5 % or more" in text(found)
    sentence = "Between run quick-6 (no commit known) and run quick-7 (no commit known): +25 % (25 % to 25 %)."
    assert text(found).count(sentence) == 2, "below the chart and in the table"
    first, second = described(found)
    assert sentence in first
    assert "Latency in 12 runs, each with its 95 % interval: 1.00 s in quick-1, 1.25 s in quick-12" in first
    assert "No change of level is known." in second
    assert "+25 %" in str(found.body).split("</svg>", maxsplit=1)[0]


def test_a_hundred_cases_stay_readable(make: SimpleNamespace) -> None:
    found = history.build(runs(make, [1.0, 1.0, 3.0], cases=100))
    assert found is not None
    assert str(found.body).count("<svg") == history.MOST_CHARTS
    assert "Not drawn: 76 series that changed less; the table has them." in text(found)
    assert str(found.body).count("<tr>") == 101
    assert "3.00 s in quick-3" in described(found)[0], "what moved most is drawn first"


def test_a_run_in_which_the_case_failed_leaves_a_gap(make: SimpleNamespace) -> None:
    made = runs(make, [1.0, 1.0, 1.0])
    case = made[0].cases[0].case
    broken = make.run([Planned(case)], [make.failed(case, Status.ERROR, "no")], name="quick-4", id="4" * 12)
    found = history.build([*made, broken])
    assert found is not None
    assert "Latency in 3 runs" in described(found)[0]


def test_two_machines_are_two_series(make: SimpleNamespace) -> None:
    made = runs(make, [1.0, 1.0, 1.0]) + runs(make, [2.0, 2.0, 2.0], comparable={"cpu": "other"})
    found = history.build(made)
    assert found is not None
    prints = {run.run.environment.fingerprint[:6] for run in made}
    titles = re.findall(r'<title id="history-\d+-title">([^<]*)</title>', str(found.body))
    assert {title[-7:-1] for title in titles} == prints

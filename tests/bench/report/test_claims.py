"""The section of claims, and the first screen of a run that was made for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench import claims
from bench.claims.claim import Chart, Claim, Curve, Finding, Line, Verdict, exact
from bench.report import page
from bench.report.sections import claims as section
from bench.stats import Interval

if TYPE_CHECKING:
    from types import SimpleNamespace

    from bench.results import RunResults

FINDING = Finding(
    Verdict.NOT_REPRODUCED,
    "It took <b>longer</b>.",
    (Line("time", 2.0, Interval(3.0, 2.5, 3.5, 5), "factor"), Line("size", None, exact(7e6), "count")),
    (Chart("Growth", "experts", "time", "s", (
        Curve("ours", ((1.0, exact(0.1)), (2.0, exact(0.3)))),
        Curve("paper's", ((1.0, exact(0.1)), (2.0, exact(0.2))), of_paper=True),
    )),),
)  # fmt: skip


def claim(name: str, finding: Finding) -> Claim:
    return Claim(
        name, f"What {name} says.", "arXiv:1, Table 1", "By hand.", (1.0, 0.1), Verdict.REPRODUCED, lambda _: finding
    )


@pytest.fixture
def found(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> RunResults:
    """A run for a claim that fell and one that has many figures."""
    many = replace(FINDING, verdict=Verdict.REPRODUCED, charts=(), lines=FINDING.lines * 6)
    monkeypatch.setattr(claims, "TABLE", {})
    for each in (claim("one", FINDING), claim("two", many)):
        claims.TABLE[each.name] = each
    monkeypatch.setattr(section, "TABLE", claims.TABLE)
    monkeypatch.setattr("bench.report.sections.summary.TABLE", claims.TABLE)
    plain = make.quick()
    settings = {**plain.run.settings, "claims": {"names": ["one", "two"], "fast": True, "untimed": []}}
    return replace(plain, run=replace(plain.run, settings=settings))


def test_each_claim_has_verdict_figures_source_and_chart(found: RunResults) -> None:
    built = section.build([found])
    assert built is not None
    body = str(built.body)
    assert '<h3 id="claim-one">one <span class="badge bad">not reproduced</span></h3>' in body
    assert "It took &lt;b&gt;longer&lt;/b&gt;." in body
    assert "3.00× (2.50× to 3.50×)" in body
    assert ">2.00×<" in body
    assert "7.00 M" in body
    assert body.count("<svg") == 1
    assert "Source: arXiv:1, Table 1. Checked: By hand. It was reproduced when it was last looked at." in body
    assert "<summary>12 figures</summary>" in body


def test_the_first_screen_leads_with_the_verdicts(found: RunResults) -> None:
    text = page.render([found])
    first = text[: text.index('<section id="claims"')]
    assert "1 of 2 claims reproduced on this machine; no longer: one." in first
    assert '<a href="#claim-one"' in first
    assert "What one says." in first


def test_runs_beside_others_are_named_and_their_anchors_are_their_own(found: RunResults) -> None:
    other = replace(found, run=replace(found.run, id="1" * 12, name="again"))
    built = section.build([found, other])
    assert built is not None
    assert '<h3 id="claim-1-one">one (again)' in str(built.body)


def test_an_ordinary_run_has_no_claims(make: SimpleNamespace) -> None:
    assert section.build([make.quick()]) is None

"""Comparisons that nobody measured: exact records for the tests of what is printed and gated."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from bench.results import Figure
from bench.stats import Interval
from bench.verdicts import Change, Comparison, Comparisons, Verdict, severity

if TYPE_CHECKING:
    from collections.abc import Sequence

HOSTILE = (
    "x:`|<b>@all</b>``\n| a | b |\r::error::x\x1b[31m\x00\u202e"
    "[l](javascript:1) ![i](http://e.x/p) #1 $x$ \ud800]]>&--%"
)
"""A layer's name that tries every reader: Markdown, tables, HTML, mentions, XML, workflow commands, terminals."""


def figure(seconds: float) -> Figure:
    return Figure("latency", "s", Interval(seconds, 0.9 * seconds, 1.1 * seconds, 5), {1: seconds}, 50)


def ratio(estimate: float, reach: float = 0.05) -> Interval:
    return Interval(estimate, estimate - reach, estimate + reach, 5)


def case(
    name: str,
    verdict: Verdict,
    estimate: float | None = None,
    *,
    layer: str = "",
    id: str = "",  # noqa: A002
    **more: object,
) -> Comparison:
    """A case of one base latency, 1 ms; those without a ratio have no figures."""
    if estimate is not None:
        more = {"base": figure(1e-3), "candidate": figure(1e-3 * estimate), "ratio": ratio(estimate), **more}
    return Comparison(
        name,
        id or hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16],
        layer or re.split("[/ ]", name, maxsplit=1)[0],
        verdict,
        **{"replicates": 5 if estimate is not None else 0, **more},
    )


def grown(metric: str = "peak_memory", unit: str = "B", base: float = 2.0**21, by: float = 1.5, *, worse: bool = True):  # noqa: ANN201
    return Change(metric, unit, base, base * by, worse)


def compared(rows: Sequence[Comparison], *, gate: Sequence[str] | None = None, **more: object) -> Comparisons:
    """A comparison in whose gate is every slower case unless said otherwise."""
    ids = [row.case_id for row in rows if row.verdict is Verdict.SLOWER] if gate is None else gate
    facts = {"base": "main", "candidate": "pr-17", "threshold": 0.05, "replicate": "pair", **more}
    return Comparisons(rows=tuple(sorted(rows, key=severity)), gate=frozenset(ids), **facts)


def mixed(**more: object) -> Comparisons:
    """Fourteen cases of every kind."""
    rows = [
        case("soft/fused experts=32", Verdict.SLOWER, 1.21, detectable=0.06),
        case("soft/fused experts=8", Verdict.SLOWER, 1.12, detectable=0.06),
        case("token_choice/grouped experts=8", Verdict.FAILED, reason="crashed: signal 11"),
        case("token_choice/grouped experts=32", Verdict.MISSING, reason="the candidate run has no result of it"),
        case("remoe/loop", Verdict.NOT_COMPARABLE, reason="unsupported"),
        case("dense", Verdict.UNCLEAR, 1.04, needed=15, seconds=12.0, detectable=0.12),
        case("soft/einsum experts=8", Verdict.FASTER, 0.80, detectable=0.05),
        *(
            case(f"expert_choice/indexed batch={n}", Verdict.SAME, 1.0 + n / 1000, detectable=0.04)
            for n in (1, 2, 4, 8)
        ),
        case("peer/bag", Verdict.SAME, 1.0, changes=(grown(), grown("flops", "FLOP", 1e6, 0.9, worse=False))),
        case("peer/indexed", Verdict.SAME, 0.99),
        case("smear", Verdict.NEW),
    ]
    facts = {
        "method": "Median of paired log ratios over fresh pairs; 95 % t-interval over pairs.",
        "remarks": ("All findings lie on one side.",),
    }
    return compared(rows, **{**facts, **more})

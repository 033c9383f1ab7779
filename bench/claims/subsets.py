"""Claim: with many small experts, the few that do most of the work for an input are easily found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.claims.claim import Ask, Chart, Claim, Curve, Finding, Line, Measured, Verdict, exact
from bench.claims.subset_models import (
    EXPERTS,
    FEW,
    FIXED_EXPERTS,
    JUDGED,
    MANY,
    NAMES,
    QUARTER,
    SEEDS,
    SHARES,
    SLOTS,
    WHOLE,
    Series,
    above_zero,
    counts,
    flops_over_all,
    kept_trend,
    latency_over_all,
    layer,
    lead_trend,
    mean_lead,
    model,
    sweep,
    wide_layer,
)
from bench.claims.subset_words import cost_words, kept_words, lead_words
from bench.stats import mean_interval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from bench.stats import Interval


def ask(fast: bool) -> Ask:  # noqa: FBT001  (the contract of a claim)
    """Returns a study of each classifier, and layers timed with shares of their experts."""
    models = [(n, 1, seed) for n in EXPERTS[fast] for seed in SEEDS[fast]]
    if fast:
        return Ask((sweep(wide_layer(MANY), (QUARTER,)),), tuple(model(*each) for each in models))
    models += [(n, SLOTS // n, seed) for n in FIXED_EXPERTS if n != SLOTS for seed in SEEDS[fast]]
    timed = (layer(MANY), wide_layer(FEW), wide_layer(MANY))
    return Ask(tuple(sweep(axes, SHARES) for axes in timed), tuple(model(*each) for each in models))


def judge(measured: Measured) -> Finding:
    """Returns how the chosen experts do as experts get more, beside random and worst ones, and what they cost.

    Reproduced: at a quarter and at half of the experts, the share of the full accuracy that the chosen ones keep grows
    with the number of experts, and the chosen ones beat random ones; each with its whole interval. An interval that
    holds zero is not enough, and the single seed of a fast check has none.
    """
    single = Series(measured, EXPERTS[measured.fast], SEEDS[measured.fast])
    control = None if measured.fast else Series(measured, FIXED_EXPERTS, SEEDS[False], SLOTS)
    growth = {share: kept_trend(single, share) for share in JUDGED}
    leads = {share: mean_lead(single, share) for share in JUDGED}
    verdict = decide((*growth.values(), *leads.values()))
    parts = (
        ["A single training seed has no interval and decides nothing: the full set has more."]
        if verdict is Verdict.CANNOT
        else []
    )
    parts += [kept_words(single, control, growth), lead_words(single, control, leads), cost_words(measured)]
    parts.append(
        "This is a toy: 1797 images of 8 × 8 pixels as four tokens, one layer without a residual path; it says nothing "
        "of ImageNet or of deeper models."
    )
    return Finding(
        verdict,
        " ".join(parts),
        (*_accuracy_lines(single, control, growth, leads), *_cost_lines(measured)),
        _charts(measured, single),
    )


def decide(found: Sequence[Interval]) -> Verdict:
    """Returns the verdict by intervals that should all be above zero; estimates without one decide nothing."""
    if any(each.low is None for each in found):
        return Verdict.CANNOT
    return Verdict.REPRODUCED if all(map(above_zero, found)) else Verdict.NOT_REPRODUCED


def _accuracy_lines(
    single: Series, control: Series | None, growth: dict[Fraction, Interval], leads: dict[Fraction, Interval]
) -> list[Line]:
    """Returns the figures about accuracy; the paper's tables were not at hand."""
    lines = []
    for share in JUDGED:
        lines += [
            _line(f"k = {_of_n(share)}: kept share of the accuracy, for each doubling of n", growth[share]),
            _line(f"k = {_of_n(share)}: lead of chosen experts over random ones", leads[share]),
            _line(f"k = {_of_n(share)}: that lead, for each doubling of n", lead_trend(single, share)),
        ]
        if control is not None:
            what = f"k = {_of_n(share)}, {SLOTS} slots in all"
            lines += [
                _line(f"{what}: kept share of the accuracy, for each doubling of n", kept_trend(control, share)),
                _line(f"{what}: lead of chosen experts over random ones", mean_lead(control, share)),
                _line(f"{what}: that lead, for each doubling of n", lead_trend(control, share)),
            ]
    for n in single.experts:
        lines.append(_line(f"n = {n}: accuracy with all experts", mean_interval(single.of("chosen", n, WHOLE))))
        for share in (share for share in SHARES if n in single.divisible(share)):
            kinds = [kind for kind in NAMES if n <= FEW or not kind.startswith("best")]
            lines += [
                _line(f"n = {n}, k = {share * n}: accuracy, {NAMES[kind]}", mean_interval(single.of(kind, n, share)))
                for kind in kinds
            ]
    for name in ("parameters_experts", "parameters_model"):
        lines += [
            Line(f"n = {n}: {name.replace('_', ' of the ')}", None, exact(single.figure(name, n)[0]), "count")
            for n in single.experts
        ]
    for n in () if control is None else control.experts:
        size = exact(control.figure("parameters_model", n)[0]) if control is not None else None
        lines.append(Line(f"n = {n}, {SLOTS} slots in all: parameters of the model", None, size, "count"))
    return lines


def _of_n(share: Fraction) -> str:
    """Returns a share of the experts as it is written: 3n/4."""
    return f"{'' if share.numerator == 1 else share.numerator}n/{share.denominator}"


def _cost_lines(measured: Measured) -> list[Line]:
    """Returns latency and FLOPs of each timed share beside those of all experts."""
    lines = []
    for name, axes, shares in _timed(measured):
        for share, active in zip(shares, counts(axes, shares), strict=True):
            time, work = latency_over_all(measured, axes, active), exact(flops_over_all(measured, axes, active))
            lines += [
                _line(f"{name}, k = {active}: latency over that of all experts ({_of_n(share)})", time),
                _line(f"{name}, k = {active}: FLOPs over those of all experts ({_of_n(share)})", work),
            ]
    return lines


def _timed(measured: Measured) -> list[tuple[str, dict[str, object], tuple[Fraction, ...]]]:
    """Returns name, axes and shares of the layers that are timed."""
    if measured.fast:
        return [(f"384 wide, n = {MANY}", wide_layer(MANY), (QUARTER,))]
    return [
        (f"digits, n = {MANY}", layer(MANY), SHARES),
        (f"384 wide, n = {FEW}", wide_layer(FEW), SHARES),
        (f"384 wide, n = {MANY}", wide_layer(MANY), SHARES),
    ]


def _line(what: str, ours: Interval) -> Line:
    """Returns a share or a difference of shares, for which no figure of the paper is known."""
    return Line(what, None, ours, "ratio")


def _charts(measured: Measured, single: Series) -> tuple[Chart, ...]:
    """Returns accuracy by the share of experts kept, for each n and for each way to choose, and what it saves."""
    along = "experts kept, of all"
    most = single.experts[-1]
    by_number = [_accuracy_curve(f"n = {n}", single, "chosen", n) for n in single.experts]
    by_kind = [_accuracy_curve(NAMES[kind], single, kind, most) for kind in ("chosen", "random", "worst", "static")]
    charts = [
        Chart("Accuracy with the experts that algorithm 1 chooses", along, "accuracy", "ratio", tuple(by_number)),
        Chart(f"Accuracy at n = {most}, by how experts are chosen", along, "accuracy", "ratio", tuple(by_kind)),
    ]
    if measured.fast:
        return tuple(charts)
    saved = []
    for name, axes, shares in _timed(measured):
        pairs = list(zip(map(float, shares), counts(axes, shares), strict=True))
        time = tuple((share, latency_over_all(measured, axes, active)) for share, active in pairs)
        work = tuple((share, exact(flops_over_all(measured, axes, active))) for share, active in pairs)
        saved += [Curve(f"latency, {name}", time), Curve(f"FLOPs, {name}", work)]
    kept = tuple((float(share), mean_interval(single.kept(MANY, share))) for share in SHARES)
    curves = (Curve(f"accuracy, digits, n = {MANY}", kept), *saved)
    return (*charts, Chart("What a subset keeps and what it costs", along, "of all experts", "ratio", curves))


def _accuracy_curve(name: str, series: Series, kind: str, num_experts: int) -> Curve:
    """Returns the accuracy of one way to choose, up to all experts."""
    shares = [share for share in (*SHARES, WHOLE) if num_experts in series.divisible(share)]
    points = tuple((float(share), mean_interval(series.of(kind, num_experts, share))) for share in shares)
    return Curve(name, points)


CLAIM = Claim(
    name="subset-of-experts",
    text="Given any proportion of the experts of a Soft MoE to compute, performance uniformly improves with more and "
    "smaller experts: those that matter for an input become easier to find.",
    source="arXiv:2409.00879, abstract and caption of Figure 1; choice of experts: algorithm 1",
    how="Classifiers of scikit-learn's digits, one Soft MoE layer each, with the same expert weights spread over n "
    "experts of one slot; test accuracy with k experts chosen by algorithm 1, random, with the smallest scores, and "
    "for n up to 8 the best of all subsets: per image in hindsight, and one for all images picked in training (the "
    "paper's own definition could not be read). Reproduced where, at n/4 and n/2, the kept share of the full accuracy "
    "grows with log2 n and the lead over random experts is above zero, each with its whole 95 % interval over seeds.",
    minutes=(6.0, 0.4),
    expected=Verdict.REPRODUCED,
    ask=ask,
    judge=judge,
)

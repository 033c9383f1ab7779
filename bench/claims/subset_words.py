"""What the claim about subsets of experts comes to, in sentences made from its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.claims.subset_models import (
    FEW,
    HALF,
    JUDGED,
    MANY,
    QUARTER,
    SHARES,
    SLOTS,
    Series,
    above_zero,
    counts,
    flops_over_all,
    kept_trend,
    latency_over_all,
    layer,
    lead_trend,
    rises,
    wide_layer,
)
from bench.stats import mean_interval

if TYPE_CHECKING:
    from fractions import Fraction

    from bench.claims.claim import Measured
    from bench.stats import Interval


def _points(found: Interval) -> str:
    """Returns a difference of two shares in points of a per cent, with its interval."""
    text = f"{_signed(found.estimate)} points"
    if found.low is None or found.high is None:
        return text
    return f"{text} ({_signed(found.low)} to {_signed(found.high)})"


def _signed(share: float) -> str:
    """Returns a difference of shares in per cent with its sign; what rounds to nothing has a plus."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def kept_words(single: Series, control: Series | None, growth: dict[Fraction, Interval]) -> str:
    """Returns the sentence about the accuracy that is kept as experts get more."""
    quarter = single.divisible(QUARTER)
    few, many = (mean_interval(single.kept(n, QUARTER)).estimate for n in (quarter[0], quarter[-1]))
    up, steps = (sum(each) for each in zip(*(rises(single, share) for share in SHARES), strict=True))
    count = len(single.seeds)
    seeds = f"{count} training seed{'s' if count > 1 else ''}"
    text = (
        f"With as many expert weights at every n and {seeds}, the n/4 experts that "
        f"algorithm 1 chooses keep {100 * few:.0f} % of the full model's accuracy at n = {quarter[0]} and "
        f"{100 * many:.0f} % at n = {quarter[-1]}: {_points(growth[QUARTER])} for each doubling of n, "
        f"{_points(growth[HALF])} at n/2; over all proportions, {up} of {steps} steps to a larger n "
        "bring a better mean accuracy"
    )
    if control is None:
        return f"{text}."
    fixed = [_points(kept_trend(control, share)) for share in JUDGED]
    return f"{text}. With {SLOTS} slots and every parameter count fixed as well it is {fixed[0]} and {fixed[1]}."


def lead_words(single: Series, control: Series | None, leads: dict[Fraction, Interval]) -> str:
    """Returns the sentences about chosen, random and fixed experts."""
    looked_at = [single] if control is None else [single, control]
    trends = [lead_trend(series, share) for series in looked_at for share in JUDGED]
    moves = f"{_points(trends[0])} and {_points(trends[1])} for each doubling"
    if control is not None:
        moves += f", {_points(trends[2])} and {_points(trends[3])} with {SLOTS} slots in all"
    grows = f"and that lead grows: by {moves}"
    not_shown = f"but that this lead grows is not shown: it moves by {moves}"
    most = single.experts[-1]
    fixed = mean_interval([a - b for a, b in _pairs(single, most, QUARTER, "static")])
    best = mean_interval([a - b for a, b in _pairs(single, FEW, HALF, "best_fixed")])
    return (
        f"Over random experts of the same number they lead by {_points(leads[QUARTER])} at n/4 and "
        f"{_points(leads[HALF])} at n/2 on average over n, {grows if all(map(above_zero, trends)) else not_shown}. "
        f"Choosing for each image instead of once for all brings {_points(fixed)} at n = {most}, k = n/4; at "
        f"n = {FEW}, k = n/2, it brings {_points(best)} over the fixed subset that is best in training."
    )


def _pairs(series: Series, num_experts: int, share: Fraction, other: str) -> list[tuple[float, float]]:
    """Returns the accuracy with chosen experts beside that with others, for each seed."""
    return list(zip(*(series.of(kind, num_experts, share) for kind in ("chosen", other)), strict=True))


def cost_words(measured: Measured) -> str:
    """Returns the sentence about what a subset saves."""
    some = counts(wide_layer(MANY), (QUARTER,))[0]
    time = latency_over_all(measured, wide_layer(MANY), some)
    reach = "" if time.low is None or time.high is None else f" ({100 * time.low:.0f} to {100 * time.high:.0f} %)"
    work = flops_over_all(measured, wide_layer(MANY), some)
    text = (
        f"A layer 384 wide with {MANY} experts takes {100 * time.estimate:.0f} %{reach} of its time for a sequence of "
        f"196 tokens if {some} of them are computed, and {100 * work:.0f} % of its FLOPs"
    )
    if measured.fast:
        return f"{text}: every slot's logits remain."
    few = flops_over_all(measured, wide_layer(FEW), counts(wide_layer(FEW), (QUARTER,))[0])
    tiny = latency_over_all(measured, layer(MANY), counts(layer(MANY), (QUARTER,))[0])
    return (
        f"{text} ({100 * few:.0f} % with {FEW} experts: every slot's logits remain, and they are more where n is); the "
        f"classifier's own layer takes {100 * tiny.estimate:.0f} % of its time."
    )

"""What the subset study measures: small classifiers by their number of experts, and layers by how many they compute."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean
from typing import TYPE_CHECKING

from bench.claims import rounds
from bench.claims.claim import Measured, study
from bench.stats import Interval, mean_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Case

SHARES = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))
"""Of the experts, how many are kept."""

TOKENS, PIXELS = 4, 16
"""Tokens of a digit and pixels of each: four squares of 4 x 4."""

HIDDEN = 512
"""Hidden width of all experts together: 3 * 16 * 512 = 24576 weights of experts, whatever their number."""

SLOTS = 128
"""All slots of a model in which the router's size is fixed too: every parameter and FLOP is then the same for all."""

WIDE = 12288
"""The same for layers as wide as ViT S: that of 8 experts of its MLP."""

QUARTER, HALF, WHOLE = Fraction(1, 4), Fraction(1, 2), Fraction(1)

JUDGED = (QUARTER, HALF)
"""Shares of the experts that the verdict is about."""

MANY, FEW = 128, 8
"""Experts of the layers that are timed."""

SEEDS = {False: (0, 1, 2, 3, 4, 5), True: (0,)}
"""Of split, weights and batches; by whether it must be fast."""

EXPERTS = {False: (2, 4, 8, 16, 32, 64, 128), True: (2, 8, 32)}
"""Numbers of experts with one slot each, as in the paper; by whether it must be fast."""

FIXED_EXPERTS = (8, 32, 128)
"""Those with `SLOTS` slots together, in the full set only; fewer take long: each slot meets more of the weights."""


NAMES = {
    "chosen": "chosen by algorithm 1",
    "random": "random, anew for each image",
    "worst": "smallest scores",
    "static": "largest scores in training, for all images",
    "best": "any subset at all gives the class (hindsight)",
    "best_fixed": "one subset for all images, best in training",
}
"""How experts are chosen: by the word in a metric's name; the last two are known for up to 8 experts."""


def model(num_experts: int, slots_per_expert: int, seed: int) -> Case:
    """Returns the case of one classifier: its layer, batch size and seed."""
    return study("subsets", "soft", **layer(num_experts, slots_per_expert), batch_size=64, threads=1, seed=seed)


def layer(num_experts: int, slots_per_expert: int = 1) -> dict[str, object]:
    """Returns the axes of a classifier's layer: experts without biases, slots of normalised tokens as in the source."""
    sizes = {"seq_len": TOKENS, "d_model": PIXELS, "d_ff": HIDDEN // num_experts}
    routing = {"num_experts": num_experts, "slots_per_expert": slots_per_expert, "normalize": "tokens"}
    return {**routing, **sizes, "activation": "swiglu"}


def wide_layer(num_experts: int) -> dict[str, object]:
    """Returns the axes of a layer for the 196 tokens of a ViT S/16, one slot per expert."""
    sizes = {"seq_len": 196, "d_model": 384, "d_ff": WIDE // num_experts}
    return {"num_experts": num_experts, "slots_per_expert": 1, **sizes, "normalize": "tokens", "activation": "gelu"}


def sweep(axes: Mapping[str, object], shares: Sequence[Fraction]) -> dict[str, object]:
    """Returns the sweep that times one sequence through a layer with all its experts and with shares of them."""
    return {"layer": "soft", **axes, "batch_size": 1, "active_experts": ["none", *counts(axes, shares)]}


def counts(axes: Mapping[str, object], shares: Sequence[Fraction]) -> list[int]:
    """Returns how many experts of a layer are kept, by shares."""
    return [int(share * int(str(axes["num_experts"]))) for share in shares]


@dataclass(frozen=True)
class Series:
    """Classifiers that differ in the number of experts; `slots` of them together, or one for each expert."""

    measured: Measured
    experts: tuple[int, ...]
    seeds: tuple[int, ...]
    slots: int | None = None

    def of(self, kind: str, num_experts: int, share: Fraction) -> tuple[float, ...]:
        """Returns an accuracy for each seed, over all draws: `kind` is one of `NAMES`."""
        kept = share * num_experts
        return self.figure("accuracy_all" if kept == num_experts else f"accuracy_{kind}_k{kept}", num_experts)

    def figure(self, metric: str, num_experts: int) -> tuple[float, ...]:
        """Returns a figure of the classifiers with so many experts, one for each seed.

        Raises:
            Unknown: it was not measured.
        """
        each = 1 if self.slots is None else self.slots // num_experts
        place = {"study": "subsets", "num_experts": num_experts, "slots_per_expert": each}
        return tuple(fmean(self.measured.samples(metric, **place, seed=seed)) for seed in self.seeds)

    def divisible(self, share: Fraction) -> list[int]:
        """Returns the numbers of experts of which this share is a whole number."""
        return [n for n in self.experts if (share * n).denominator == 1]

    def kept(self, num_experts: int, share: Fraction) -> tuple[float, ...]:
        """Returns the accuracy with the chosen experts over that with all, for each seed."""
        whole = self.of("chosen", num_experts, Fraction(1))
        return tuple(a / b for a, b in zip(self.of("chosen", num_experts, share), whole, strict=True))

    def lead(self, num_experts: int, share: Fraction) -> tuple[float, ...]:
        """Returns the accuracy with the chosen experts less that with random ones, for each seed."""
        both = (self.of(kind, num_experts, share) for kind in ("chosen", "random"))
        return tuple(a - b for a, b in zip(*both, strict=True))


def trend(by_experts: Mapping[int, Sequence[float]]) -> Interval:
    """Returns by how much a figure grows when the experts double: a least-squares slope for each seed, over seeds."""
    doublings = [math.log2(n) for n in by_experts]
    centre = fmean(doublings)
    spread = math.fsum((x - centre) ** 2 for x in doublings)
    of_seeds = zip(*by_experts.values(), strict=True)
    return mean_interval(
        [math.fsum((x - centre) * y for x, y in zip(doublings, ys, strict=True)) / spread for ys in of_seeds]
    )


def kept_trend(series: Series, share: Fraction) -> Interval:
    """Returns by how much the kept share of the full accuracy grows for each doubling of the experts."""
    return trend({n: series.kept(n, share) for n in series.divisible(share)})


def lead_trend(series: Series, share: Fraction) -> Interval:
    """Returns by how much the lead over random experts grows for each doubling of the experts."""
    return trend({n: series.lead(n, share) for n in series.divisible(share)})


def mean_lead(series: Series, share: Fraction) -> Interval:
    """Returns the lead over random experts, averaged over the numbers of experts."""
    leads = [series.lead(n, share) for n in series.divisible(share)]
    return mean_interval([sum(of_seed) / len(leads) for of_seed in zip(*leads, strict=True)])


def above_zero(found: Interval) -> bool:
    """Returns whether a whole interval is above zero."""
    return found.low is not None and found.low > 0


def rises(series: Series, share: Fraction) -> tuple[int, int]:
    """Returns in how many steps to more experts the mean accuracy of the chosen ones rises, and how many there are."""
    means = [mean_interval(series.of("chosen", n, share)).estimate for n in series.divisible(share)]
    steps = list(itertools.pairwise(means))
    return sum(after > before for before, after in steps), len(steps)


def latency_over_all(measured: Measured, axes: Mapping[str, object], active: int) -> Interval:
    """Returns the latency of a layer with some of its experts over that with all, rounds paired.

    Raises:
        Unknown: one of both is not known, or they have no round in common.
    """
    case = {"layer": "soft", **axes, "batch_size": 1}
    some, whole = (rounds.latency(measured, {**case, "active_experts": count}) for count in (active, None))
    return rounds.times(some, whole)


def flops_over_all(measured: Measured, axes: Mapping[str, object], active: int) -> float:
    """Returns the FLOPs of a layer with some of its experts over those with all.

    Raises:
        Unknown: one of both is not known.
    """
    some, whole = (
        measured.figure("flops", layer="soft", **axes, batch_size=1, active_experts=count).estimate
        for count in (active, None)
    )
    return some / whole

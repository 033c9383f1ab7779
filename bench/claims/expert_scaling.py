"""Claim: with the slots fixed, more experts do not slow Soft MoE down, and do slow sparse layers down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import layers
from bench.claims import paper_throughput as paper
from bench.claims import rounds
from bench.claims.claim import Ask, Chart, Claim, Curve, Finding, Line, Measured, Verdict, exact
from bench.stats import Interval, geometric_interval, ratio_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOTS = 256
BATCH = 4
SIZES: Mapping[str, object] = {
    "batch_size": BATCH,
    "seq_len": 256,
    "d_model": 384,
    "d_ff": 384,
    "input": "gaussian",
}
"""Tokens and width of S/14; the experts have a quarter of its hidden width, so that 256 of them train on two cores.

Independent tokens load the experts of a sparse layer about evenly: it has most to do then.
"""
SPARSE: Mapping[str, object] = {"capacity_factor": 1.0, "group_size": BATCH * 256}

FLAT = 1.25
"""Growth up to which a layer alone counts as constant: the paper's whole models, of which the MoE layers are a part,
take 1.04 to 1.08 times as long (Figure 6)."""

CAPTIONS = (
    ("Experts choice, 4096 experts over 32, groups of 32 images: more than (Figure 17)", 2.5),
    ("Tokens choice, 4096 experts over 32, groups of 8 or 16 images: almost (Figure 18)", 4.0),
)


@dataclass(frozen=True)
class Series:
    """A layer with a backend; `of_paper` where it carries tokens as the paper does: by one-hot matrix products."""

    layer: str
    backend: str
    title: str
    row: paper.Row
    of_paper: bool = True

    def axes(self, num_experts: int, *, fast: bool) -> dict[str, object]:
        """Returns the axes of its case with so many experts, forward and backward unless it must be fast."""
        mode = "forward" if fast else "forward_backward"
        case = {"layer": self.layer, "backend": self.backend, "num_experts": num_experts, "mode": mode, **SIZES}
        if self.layer == "soft":
            return {**case, "slots_per_expert": SLOTS // num_experts}
        return {**case, **SPARSE, **({"top_k": 1} if self.layer == "token_choice" else {})}


SOFT = Series("soft", "fused", "Soft MoE", paper.SOFT_1)
ONE_HOT = Series("token_choice", "einsum", "tokens choice, one-hot", paper.TOKEN_CHOICE_16)
GROUPED = Series("token_choice", "grouped", "tokens choice, grouped", paper.TOKEN_CHOICE_16, of_paper=False)
FAST = (SOFT, ONE_HOT, GROUPED)
FULL = (
    *FAST,
    Series("token_choice", "indexed", "tokens choice, indexed", paper.TOKEN_CHOICE_16, of_paper=False),
    Series("expert_choice", "einsum", "experts choice, one-hot", paper.EXPERT_CHOICE_1),
    Series("expert_choice", "indexed", "experts choice, indexed", paper.EXPERT_CHOICE_1, of_paper=False),
)


def series(*, fast: bool) -> tuple[Series, ...]:
    """Returns the layers and backends that are timed."""
    return FAST if fast else FULL


def experts(*, fast: bool) -> tuple[int, ...]:
    """Returns the numbers of experts, fewest first."""
    return (8, 64) if fast else (8, 64, 256)


def ask(fast: bool) -> Ask:  # noqa: FBT001  (the contract of a claim)
    """Returns each layer and backend with each number of experts."""
    return Ask(sweeps=tuple(s.axes(count, fast=fast) for s in series(fast=fast) for count in experts(fast=fast)))


@dataclass(frozen=True)
class Growth:
    """What a series takes with each number of experts in each round; the first is the smallest number."""

    series: Series
    times: dict[int, rounds.Rounds]

    @property
    def few(self) -> int:
        """The smallest number of experts."""
        return min(self.times)

    @property
    def many(self) -> int:
        """The largest number of experts."""
        return max(self.times)

    def by_round(self, count: int) -> list[float]:
        """Returns how many times as long it takes with so many experts as with the fewest, round by round."""
        return list(rounds.ratio(self.times[count], self.times[self.few]).values())

    def at(self, count: int) -> Interval:
        """Returns the same with its interval."""
        return rounds.times(self.times[count], self.times[self.few])

    def over(self, soft: Growth) -> Interval:
        """Returns its growth from fewest to most experts over that of Soft MoE."""
        return ratio_interval(soft.by_round(self.many), self.by_round(self.many))

    def time_over(self, soft: Growth) -> Interval:
        """Returns how many times as long as Soft MoE it takes with the most experts."""
        return rounds.times(self.times[self.many], soft.times[self.many])


def judge(measured: Measured) -> Finding:
    """Returns how latency grows with the experts, beside the paper's throughput."""
    fast = measured.fast
    found = [
        Growth(s, {count: rounds.latency(measured, s.axes(count, fast=fast)) for count in experts(fast=fast)})
        for s in series(fast=fast)
    ]
    soft, sparse = found[0], found[1:]
    flat = rounds.within(soft.at(soft.many), 0.0, FLAT)
    one_hot = {one.series.title: one.over(soft) for one in sparse if one.series.of_paper}
    faster = [_above_one(ratio) for ratio in one_hot.values()]
    return Finding(
        rounds.verdict((flat, *faster)),
        _words(measured, soft, sparse),
        (*_lines(soft, sparse), *(Line(text, figure, None, "factor") for text, figure in CAPTIONS)),
        (_chart(found),),
    )


def _above_one(ratio: Interval) -> bool | None:
    """Returns whether a ratio is above 1, None where its interval leaves that open."""
    below = rounds.within(ratio, 0.0, 1.0)
    return None if below is None else not below


def _words(measured: Measured, soft: Growth, sparse: list[Growth]) -> str:
    """Returns the answer in sentences."""
    few, many = soft.few, soft.many
    paper_way = [one for one in sparse if one.series.of_paper]
    beside = "; ".join(f"{one.series.title} {rounds.tell(one.over(soft))}" for one in paper_way)
    best = [
        min((one for one in sparse if one.series.layer == layer and not one.series.of_paper), key=_at_most)
        for layer in dict.fromkeys(one.series.layer for one in paper_way)
    ]
    answers = {True: "survives", False: "does not survive", None: "is undecided"}
    modern = "; ".join(
        f"{one.series.title} {rounds.tell(one.over(soft))}, so that the advantage "
        f"{answers[_above_one(one.over(soft))]}, at {rounds.tell(one.time_over(soft))} of Soft MoE's time with {many}"
        for one in best
    )
    return (
        f"From {few} to {many} experts at {SLOTS} slots a Soft MoE layer takes {rounds.tell(soft.at(many))} times as "
        f"long; it counts as constant up to {FLAT}. Growth over Soft MoE's, above 1 where Soft MoE has the advantage: "
        f"with the paper's dispatch {beside}; with the fastest modern one {modern}. {_differs(measured, soft, sparse)}"
    )


def _at_most(one: Growth) -> float:
    """Returns the seconds that a series takes with the most experts."""
    return geometric_interval(list(one.times[one.many].values())).estimate


def _differs(measured: Measured, soft: Growth, sparse: list[Growth]) -> str:
    """Returns in which ways this is not what the paper measured."""
    fast = measured.fast
    few, many = (measured.one(**soft.series.axes(count, fast=fast)) for count in (soft.few, soft.many))
    costs = [layers.cost(case.case) for case in (few, many)]
    traffic = [float(cost.min_bytes) for cost in costs if cost is not None and cost.min_bytes]
    grown = f" whose least memory traffic grows {traffic[1] / traffic[0]:.1f} times" if len(traffic) == 2 else ""
    drops = " and ".join(
        f"{measured.figure('drop_rate', **sparse[0].series.axes(count, fast=fast)).estimate:.0%} with {count}"
        for count in (soft.few, soft.many)
    )
    what = "the forward pass" if fast else "forward and backward pass"
    left_out = "; experts choice is timed in the full set only" if fast else ""
    return (
        f"What differs: a layer alone, {what}, {BATCH} sequences, so that an expert works on "
        f"{BATCH * SLOTS // soft.many} rows with {soft.many} experts, and one device{grown}, where the paper trains "
        f"whole models; tokens choice drops {drops} experts, and a grouped dispatch does not compute what is "
        f"dropped{left_out}."
    )


def _lines(soft: Growth, sparse: list[Growth]) -> list[Line]:
    """Returns the growth of each series beside the paper's, and what the sparse ones take of Soft MoE's."""
    few, many = soft.few, soft.many
    lines = []
    for one in (soft, *sparse):
        row = one.series.row
        printed = row.slowdown(few, many) if one.series.of_paper else None
        where = "" if printed is None else f" (paper: whole model, {row.title})"
        lines.append(Line(f"{one.series.title}: {many} experts over {few}{where}", printed, one.at(many), "factor"))
    lines += [Line(f"{one.series.title}: its growth over Soft MoE's", None, one.over(soft), "factor") for one in sparse]
    lines += [
        Line(f"{one.series.title}: time over Soft MoE's, {many} experts", None, one.time_over(soft), "factor")
        for one in sparse
    ]
    return lines


def _chart(found: list[Growth]) -> Chart:
    """Returns latency over that of the fewest experts, ours and the paper's."""
    ours = [
        Curve(one.series.title, tuple((float(count), one.at(count)) for count in sorted(one.times))) for one in found
    ]
    return Chart(
        "Time against the number of experts, slots fixed",
        "Experts",
        "Time over that of the fewest experts",
        "factor",
        (*ours, *(_paper_curve(row) for row in paper.ROWS)),
    )


def _paper_curve(row: paper.Row) -> Curve:
    """Returns a row of the paper's figure as time over that of its fewest experts."""
    first = row.images_per_s[min(row.images_per_s)]
    unsure = ", columns inferred" if row.inferred else ""
    return Curve(
        f"paper: {row.title}{unsure}",
        tuple((float(count), exact(first / speed)) for count, speed in sorted(row.images_per_s.items())),
        of_paper=True,
    )


CLAIM = Claim(
    name="expert-scaling",
    text="With the total number of slots fixed, Soft MoE's step time stays about the same from 8 to thousands of "
    "experts (throughput falls by 4 to 7 %); that of tokens choice and experts choice grows much more.",
    source="arXiv:2308.00951v2, Figures 6, 17, 18 and 23",
    how="Latency of one layer with more and more experts at the same number of slots: Soft MoE, tokens choice and "
    "experts choice with the paper's one-hot dispatch and with modern ones.",
    minutes=(3.0, 0.4),
    expected=Verdict.NOT_REPRODUCED,
    ask=ask,
    judge=judge,
)

"""The monotonic rule: what is at least as large in every size as something that ran out of memory is not started.

It reacts to observed failures only. Predicted memory would do worse: an estimate that is 2.5 times too low starts the
case anyway, one that is too high hides cases that fit (mlxcel#807).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.axes import AXES, case_name
from bench.records import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.axes import AxisValue
    from bench.records import Case

SIZES = (
    "batch_size",
    "seq_len",
    "num_experts",
    "slots_per_expert",
    "active_experts",
    "top_k",
    "capacity_factor",
    "num_shared_experts",
    "d_model",
    "d_ff",
)
"""Axes along which memory only grows; an absent value (dropless, all experts) compares with absent ones alone."""


def exceeded(case: Case, exhausted: Iterable[Case]) -> Case | None:
    """Returns a case that ran out of memory and that this one is at least as large as, None where there is none."""
    return next((smaller for smaller in exhausted if at_least_as_large(case, smaller)), None)


def at_least_as_large(case: Case, other: Case) -> bool:
    """Returns whether a case is the other one, but for sizes none of which is smaller."""
    return case.keys() == other.keys() and all(
        _reaches(case[name], other[name]) if name in SIZES else case[name] == other[name] for name in case
    )


def skipped(case: Case, repeat: int, smaller: Case, now: float) -> Outcome:
    """Returns the outcome of a case that the rule keeps from being started, at a time in seconds since the epoch."""
    grown = [name for name in AXES if name in SIZES and name in case]
    detail = (
        f"not started: {case_name(smaller, grown)} (case {smaller.id}) ran out of memory, and this case is at least as"
        " large in every size; to try it all the same, use --resume RUN --retry-failed"
    )
    return Outcome(case.id, repeat, Status.SKIPPED, detail, started=now, finished=now)


def _reaches(value: AxisValue, other: AxisValue) -> bool:
    """Returns whether one size is at least another; where one is absent, whether both are."""
    if isinstance(value, int | float) and isinstance(other, int | float):
        return value >= other
    return value == other

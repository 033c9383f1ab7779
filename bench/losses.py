"""What there is to say of a case that was not timed in both runs, or that fails now and did not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.records import FAILED, Status, reason
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from bench.sides import CaseSide


NOTHING, FAILS, UNTIMED, TIMED = range(4)
"""What there is of a case, in the order of its worth: what is skipped or not supported is known not to be there."""


def verdict(base: CaseSide | None, candidate: CaseSide | None) -> tuple[Verdict, str] | None:
    """Returns verdict and reason of a case whose times cannot be judged, None for one whose times can.

    A side is None where its run does not have the case. What worked in the base has failed or is missing, however the
    candidate lost it; what works in the candidate alone is new; where it is neither, there is nothing to compare.
    """
    was, is_now = _status(base), _status(candidate)
    if is_now in FAILED and was is Status.OK:
        return Verdict.FAILED, _end(candidate)
    if base and candidate and base.latency and candidate.latency:
        return None
    change = _worth(candidate) - _worth(base)
    if change < 0 and (was is Status.OK or is_now is None):
        return Verdict.MISSING, f"candidate: {_end(candidate)}"
    if change > 0 and (is_now is Status.OK or was is None):
        known = "" if was is None else f"base: {_end(base)}"
        return Verdict.NEW, known if is_now is Status.OK else f"candidate: {_end(candidate)}"
    ours, theirs = _end(candidate), _end(base)
    return Verdict.NOT_COMPARABLE, f"both: {ours}" if ours == theirs else f"base: {theirs}; candidate: {ours}"


def _status(one: CaseSide | None) -> Status | None:
    """Returns how a side ended, None where it has no result."""
    return None if one is None else one.status


def _worth(one: CaseSide | None) -> int:
    """Returns what there is of a case on one side."""
    if one is None or one.status in (None, Status.SKIPPED, Status.UNSUPPORTED):
        return NOTHING
    if one.status is not Status.OK:
        return FAILS
    return TIMED if one.latency else UNTIMED


def _end(one: CaseSide | None) -> str:
    """Returns how a side ended and why, in one line."""
    if one is None or one.status is None:
        return "no result"
    if one.status is not Status.OK:
        return f"{one.status}: {reason(one.status, one.detail)}"
    return "timed" if one.latency else "no process timed it"

"""Which case of one side is held against which of the other: the same case, or one that differs in a single axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.axes import AxisValue, label, parse_axis, show_value
from bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Case

Matched = tuple["Case | None", "Case | None"]
"""Base and candidate; one is None where the other side alone has the case."""


@dataclass(frozen=True)
class Pair:
    """The axis whose value differs on purpose between the two sides, and its value on each."""

    axis: str
    base: AxisValue
    candidate: AxisValue


def parse_pair(words: str) -> Pair:
    """Returns the pair that `--pair axis=base,candidate` asks for.

    Raises:
        InputError: not of that form, an unknown axis, a value that it does not take, or twice the same value.
    """
    name, _, values = words.partition("=")
    base, comma, candidate = values.partition(",")
    if not comma or not base or not candidate:
        raise InputError(f"--pair {words}: write axis=base,candidate as in backend=einsum,fused")
    pair = Pair(name, parse_axis(name, base), parse_axis(name, candidate))
    if pair.base == pair.candidate:
        raise InputError(f"--pair {words}: both sides are {show_value(pair.base)}")
    return pair


def match(base: Sequence[Case], candidate: Sequence[Case], pair: Pair | None) -> list[Matched]:
    """Returns the two sides of each case.

    Raises:
        InputError: a pair that leaves nothing to compare, or that matches several cases.
    """
    if pair is None:
        ours = {case.id: case for case in candidate}
        theirs = {case.id for case in base}
        return [
            *((case, ours.get(case.id)) for case in base),
            *((None, case) for case in candidate if case.id not in theirs),
        ]
    left = [case for case in base if case.get(pair.axis) == pair.base]
    right = [case for case in candidate if case.get(pair.axis) == pair.candidate]
    for value, found in ((pair.base, left), (pair.candidate, right)):
        if not found:
            raise InputError(f"--pair {pair.axis}: no case has {pair.axis} = {show_value(value)}")
    return [(case, _twin(case, right, pair)) for case in left]


def _twin(case: Case, others: Sequence[Case], pair: Pair) -> Case | None:
    """Returns the case that agrees in every axis that both have, but the paired one."""
    twins = [other for other in others if _agree(case, other, pair.axis)]
    if len(twins) > 1:
        name = label(case, list(case))
        raise InputError(f"--pair {pair.axis}: {name} has {len(twins)} partners; narrow the runs down with --set")
    return twins[0] if twins else None


def _agree(a: Mapping[str, AxisValue], b: Mapping[str, AxisValue], but: str) -> bool:
    """Returns whether two cases agree in every axis that both have, but one; backends belong to their layer."""
    ignored = {but, "backend"} if but == "layer" else {but}
    return all(a[name] == b[name] for name in a if name in b and name not in ignored)

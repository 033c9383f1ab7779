"""Which case of one side is held against which of the other: the same case, or one that differs in a single axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.axes import AxisValue, label, parse_axis, show_value
from bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    find = _Twins(right, pair)
    matched: list[Matched] = [(case, find.twin(case)) for case in left]
    met = {twin.id for _, twin in matched if twin is not None}
    return [*matched, *((None, case) for case in right if case.id not in met)]


class _Twins:
    """The cases of one side of a pair, found by what a case of the other side has in common with them.

    Two cases are twins that agree in every axis that both have, but the paired one; backends belong to their layer.
    """

    def __init__(self, others: Sequence[Case], pair: Pair) -> None:
        self._pair = pair
        self._ignored = {pair.axis, "backend"} if pair.axis == "layer" else {pair.axis}
        self._by_axes: dict[frozenset[str], list[Case]] = {}
        for other in others:
            self._by_axes.setdefault(frozenset(other), []).append(other)
        self._tables: dict[tuple[frozenset[str], tuple[str, ...]], dict[tuple[AxisValue, ...], list[Case]]] = {}

    def twin(self, case: Case) -> Case | None:
        """Returns the twin of a case of the other side.

        Raises:
            InputError: it has several.
        """
        twins = [other for axes in self._by_axes for other in self._agreeing(case, axes)]
        if len(twins) > 1:
            name = label(case, list(case))
            raise InputError(
                f"--pair {self._pair.axis}: {name} has {len(twins)} partners; narrow the runs down with --set"
            )
        return twins[0] if twins else None

    def _agreeing(self, case: Case, axes: frozenset[str]) -> list[Case]:
        """Returns the twins of a case among those that have these axes."""
        shared = tuple(name for name in case if name in axes and name not in self._ignored)
        if (axes, shared) not in self._tables:
            table = self._tables.setdefault((axes, shared), {})
            for other in self._by_axes[axes]:
                table.setdefault(tuple(other[name] for name in shared), []).append(other)
        return self._tables[axes, shared].get(tuple(case[name] for name in shared), [])

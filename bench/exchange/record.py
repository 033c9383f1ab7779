"""A whole run that came out of a file, and the words that files of every form share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import layers, results
from bench.axes import AXES, case_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.axes import AxisValue
    from bench.exchange.reading import Fields
    from bench.records import Case, Outcome, Planned, Run
    from bench.results import RunResults

DIGITS = 6
"""Significant digits of a measured figure in a file for people: a millionth is less than any machine repeats."""


@dataclass(frozen=True)
class Recorded:
    """A run with its plan and outcomes, as a file tells it; `baseline` is the name under which the file keeps it."""

    run: Run
    plan: tuple[Planned, ...]
    outcomes: tuple[Outcome, ...]
    baseline: str | None = None

    @property
    def results(self) -> RunResults:
        """What its outcomes amount to."""
        return results.of_outcomes(self.run, self.plan, self.outcomes)


def checked(recorded: Recorded, fields: Fields) -> Recorded:
    """Returns a run from a file once it is clear that its figures amount to something.

    Raises:
        InputError: they are so large, so small or so far apart that no interval can be computed.
    """
    try:
        recorded.results  # noqa: B018
    except (OverflowError, ZeroDivisionError):
        fields.refuse("its figures are too large, too small or too far apart to be measured ones")
    return recorded


def stable_name(case: Mapping[str, AxisValue]) -> str:
    """Returns a case's name with every axis that is not at its default.

    It does not depend on what else was measured, so that dashboards find the same case under the same name, and no two
    cases have the same one.
    """
    told = [name for name, value in case.items() if name not in AXES or AXES[name].required or _differs(name, value)]
    return case_name(case, results.order_axes(told))


def in_order(cases: Sequence[Case]) -> list[Case]:
    """Returns cases as a grid would list them: by layer, then by their axes."""
    rank = {name: i for i, name in enumerate(layers.TABLE)}

    def place(case: Case) -> tuple[object, ...]:
        layer, rest = str(case["layer"]), [case.get(name) for name in AXES if name != "layer"]
        words = [(value is not None, value if isinstance(value, str) else "") for value in rest]
        numbers = [0.0 if value is None or isinstance(value, str) else float(value) for value in rest]
        return rank.get(layer, len(rank)), layer, [*zip(words, numbers, strict=True)], case.id

    return sorted(cases, key=place)


def rounded(value: float, digits: int = DIGITS) -> int | float:
    """Returns a figure with so many significant digits; a whole number, which is exact, stays as it is."""
    found = value if _whole(value) else float(f"{value:.{digits - 1}e}")
    return int(found) if _whole(found) else found


def _whole(value: float) -> bool:
    """Returns whether a figure is a whole number that every database can hold."""
    return math.isfinite(value) and value == int(value) and abs(value) < 2**63


def _differs(name: str, value: AxisValue) -> bool:
    """Returns whether an axis is not at its default."""
    default = AXES[name].default
    return value != default or type(value) is not type(default)

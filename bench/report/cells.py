"""Cells of tables that know the numbers they show, so that the page can sort by them and give them on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import units
from bench.report import naming

if TYPE_CHECKING:
    from bench.results import Figure
    from bench.stats import Interval


@dataclass(frozen=True)
class Cell:
    """A text with its number in the base unit of its column: two of an interval, none where it is unknown."""

    text: str
    numbers: tuple[float, ...] = ()

    @property
    def value(self) -> str:
        """The numbers, to nine digits."""
        return " ".join(map(str, map(short, self.numbers)))


Content = str | Cell
"""What a cell holds; a text that is a number is its own value, and `Markup` is a text too."""


def short(number: float) -> float:
    """Returns a whole number as one, any other rounded to nine digits: no figure here is known to more."""
    if float(number).is_integer() and abs(number) < 2**53:
        return int(number)
    return float(f"{number:.9g}")


def quantity(value: float | None, unit: str) -> Cell:
    """Returns a number in people's units, a dash where it is unknown."""
    return Cell(units.format_value(value, unit), () if value is None else (value,))


def figure(found: Figure | None) -> Cell:
    """Returns a figure's estimate."""
    return Cell(naming.value(found), () if found is None else (found.value,))


def interval(found: Interval | None, unit: str) -> Cell:
    """Returns the interval of a figure."""
    return Cell(naming.interval(found, unit), _ends(found))


def ratio(number: float | None) -> Cell:
    """Returns a ratio of two figures."""
    return Cell(units.UNKNOWN) if number is None else Cell(naming.ratio(number), (number,))


def times(found: Interval | None) -> Cell:
    """Returns the interval of a ratio."""
    return Cell(units.UNKNOWN) if found is None else Cell(naming.times(found), _ends(found))


def _ends(found: Interval | None) -> tuple[float, ...]:
    """Returns low and high, nothing where they are unknown."""
    return () if found is None or found.low is None or found.high is None else (found.low, found.high)

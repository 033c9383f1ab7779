"""Numbers for people: base units are kept inside, prefixes are chosen here, at the edge.

Inside the package a value is always in its base unit (s, B, FLOP, FLOP/s, B/s, FLOP/B, token, token/s, J, J/token, W,
Hz, ratio, factor, count, and abs for what has the unit of a layer's output); only text for a person is scaled. Time,
work and rates take decimal prefixes (SI), sizes in bytes binary ones (IEC 80000-13), bytes per second decimal ones,
because data sheets state bandwidth so.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

UNKNOWN = "–"
"""What stands for a value that is not known."""

Scale = tuple[float, str]

_LARGE = ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P"), (1e18, "E"))
_SMALL = ((1e-9, "n"), (1e-6, "µ"), (1e-3, "m"))


def _scales(unit: str, *prefixes: Scale) -> tuple[Scale, ...]:
    return tuple((factor, prefix + unit) for factor, prefix in prefixes)


_SCALES: dict[str, tuple[Scale, ...]] = {
    "s": (*_scales("s", *_SMALL, (1.0, "")), (60.0, "min"), (3600.0, "h")),
    "B": tuple((1024.0**power, label) for power, label in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB"))),
    "B/s": _scales("B/s", (1.0, ""), *_LARGE),
    "FLOP": _scales("FLOP", (1.0, ""), *_LARGE),
    "FLOP/s": _scales("FLOP/s", (1.0, ""), *_LARGE),
    "FLOP/B": ((1.0, "FLOP/B"),),
    "token": _scales("token", (1.0, ""), *_LARGE),
    "token/s": _scales("token/s", (1.0, ""), *_LARGE),
    "J": _scales("J", *_SMALL, (1.0, ""), *_LARGE),
    "J/token": _scales("J/token", *_SMALL, (1.0, ""), *_LARGE),
    "W": _scales("W", *_SMALL[1:], (1.0, ""), *_LARGE),
    "Hz": _scales("Hz", (1.0, ""), *_LARGE),
    "count": ((1.0, ""), *_LARGE),
    "ratio": ((0.01, "%"),),
    "factor": ((1.0, "×"),),
    "abs": ((1.0, ""),),
}
"""Base unit -> (factor, label), smallest first: a value in base units divided by the factor is a number of labels."""

_WHOLE = frozenset({"B", "FLOP", "token", "count"})
_EXACT_BELOW = 100_000


def _three_digits(number: float) -> str:
    """Three significant digits without an exponent where that stays readable."""
    if number == 0:
        return "0"
    rounded = float(f"{number:.2e}")
    decimals = 2 - math.floor(math.log10(abs(rounded)))
    if decimals > 6:
        return f"{number:.2e}"
    return f"{rounded:.{max(decimals, 0)}f}"


def _choose(value: float, unit: str) -> Scale:
    """The scale that leaves one to three digits before the point; the smallest one for tiny values, the base for 0."""
    scales = _SCALES.get(unit, ((1.0, unit),))
    if value == 0:
        return next((scale for scale in scales if scale[0] == 1), scales[0])
    for (factor, label), (following, _) in itertools.pairwise(scales):
        shown = float(f"{abs(value) / factor:.2e}")
        # 1000 B are not yet 1 KiB, but four digits are one too many: 0.977 KiB keeps three
        if shown < 1000 and shown * factor < following:
            return factor, label
    return scales[-1]


def format_value(value: float | None, unit: str) -> str:
    """`value`, given in the base `unit`, with three significant digits and the prefix that suits it.

    A ratio is shown in per cent and a factor with a multiplication sign. A unit that is not known here is shown as it
    is, without prefixes, so that a metric from outside may bring its own.

    Args:
        value: None (and the NaN that pandas makes of it) is unknown and shown as a dash.
        unit: one of the base units named at the head of this file.
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if unit == "count":
        return format_count(value)
    if math.isinf(value):
        return f"{value} {unit}"
    factor, label = _choose(value, unit)
    if factor == 1 and unit in _WHOLE and value == int(value):
        return f"{int(value)} {label}"
    digits = _three_digits(value / factor)
    if unit == "ratio" and "." in digits and "e" not in digits:
        digits = digits.rstrip("0").rstrip(".")
    return f"{digits}{label}" if unit == "factor" else f"{digits} {label}".rstrip()


def format_count(value: float | None) -> str:
    """A plain number: whole ones are exact up to 100,000, larger ones have three digits and a decimal prefix."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return str(value)
    if abs(value) < _EXACT_BELOW and value == int(value):
        return f"{int(value):,}"
    factor, label = _choose(value, "count")
    return f"{_three_digits(value / factor)} {label}".rstrip()


def axis_scale(values: Iterable[float | None], unit: str) -> Scale:
    """The common (factor, label) of a chart axis or a table column: divide each value by the factor.

    The largest magnitude decides, so that no number needs more than three digits before the point. Without any known
    value the base unit is kept.
    """
    known = (abs(value) for value in values if value is not None and math.isfinite(value))
    return _choose(max(known, default=0.0), unit)


def format_duration(seconds: float | None) -> str:
    """A span of time for a progress line: "0.4 s", "12 s", "1 min 20 s", "2 h 05 min", "1 d 3 h"."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    if seconds < 9.95:
        return f"{sign}{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{sign}{whole} s"
    if whole < 3600:
        return f"{sign}{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{sign}{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{sign}{hours // 24} d {hours % 24} h"

"""Intervals as lines across an axis, capped at their ends, an arrow where one leaves the chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report import svg

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Pen:
    """How intervals are drawn: width of the line and size of its caps in points; without caps only arrows end it."""

    colour: str = svg.INK
    width: float = 1.2
    cap: float = 5.0
    alpha: float = 1.0
    capped: bool = True


@dataclass(frozen=True)
class Axis:
    """The axis of the figures: its ends in base units, what they are divided by, and whether it stands upright."""

    ends: tuple[float, float]
    factor: float
    upright: bool


def draw(axes: Axes, spans: Iterable[tuple[float, float | None, float | None]], axis: Axis, pen: Pen) -> int:
    """Draws intervals (place across the axis, low, high; unknown ones not) and returns how many leave the chart."""
    known = [(place, low, high) for place, low, high in spans if low is not None and high is not None]
    if not known:
        return 0
    bottom, top = axis.ends
    places = [place for place, _, _ in known]
    lows = [max(low, bottom) / axis.factor for _, low, _ in known]
    highs = [min(high, top) / axis.factor for _, _, high in known]
    look: dict[str, Any] = {"alpha": pen.alpha, "zorder": 3}
    (axes.vlines if axis.upright else axes.hlines)(places, lows, highs, pen.colour, linewidth=pen.width, **look)
    below, above, cap = ("v", "^", "_") if axis.upright else ("<", ">", "|")
    caps: dict[str, list[tuple[float, float]]] = {}
    for (place, low, high), start, end in zip(known, lows, highs, strict=True):
        caps.setdefault(below if low < bottom else cap, []).append((place, start))
        caps.setdefault(above if high > top else cap, []).append((place, end))
    if not pen.capped:
        caps.pop(cap, None)
    for marker, found in caps.items():
        across, along = zip(*found, strict=True)
        x, y = (across, along) if axis.upright else (along, across)
        axes.plot(x, y, ls="", marker=marker, ms=pen.cap, color=pen.colour, clip_on=False, **look)
    return sum(low < bottom or high > top for _, low, high in known)

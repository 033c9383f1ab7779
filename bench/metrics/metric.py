"""What a metric is: a name, a unit, which direction is better, and how it follows from what was observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.axes import AxisValue


@dataclass(frozen=True)
class Metric:
    """One kind of figure in base units.

    Without `derive` it is observed by a worker. With it, samples follow on reading from the axes of the case and the
    samples of `needs` observed in the same process, so that a mended formula needs no new run; no sample means unknown.
    What is known of the machine stands among the observed samples under the names of `bench.metrics.roofline.KNOWN`.
    """

    name: str
    unit: str
    title: str
    better: Literal["lower", "higher"] | None
    text: str
    derive: Callable[[Mapping[str, AxisValue], Mapping[str, tuple[float, ...]]], tuple[float, ...]] | None = None
    needs: tuple[str, ...] = ()

"""`--threshold`: how large a change must be to matter, for latency or for another metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from bench.errors import InputError, unknown
from bench.grid import LARGEST_THRESHOLD, THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Iterable

threshold_option = click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="[METRIC=]SHARE",
    help=f"Smallest relative change worth a verdict, as in 0.05 or memory=0.01 ({', '.join(THRESHOLDS)}); may be"
    " repeated (default: the grid's, else 0.05 for latency and 0 for what is counted).",
)


def parse_thresholds(words: Iterable[str]) -> dict[str, float]:
    """Returns the thresholds that words ask for; one without a metric is meant for latency.

    Raises:
        InputError: an unknown metric, no number from 0 to 10, or a metric twice.
    """
    found: dict[str, float] = {}
    for word in words:
        metric, equals, number = word.rpartition("=")
        metric = metric if equals else "latency"
        if metric not in THRESHOLDS:
            raise InputError(f"--threshold {word}: {unknown('metric', metric, THRESHOLDS)}")
        if metric in found:
            raise InputError(f"--threshold {word}: {metric} is given twice")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not 0 <= value <= LARGEST_THRESHOLD:
            raise InputError(f"--threshold {word}: takes a share from 0 to {LARGEST_THRESHOLD:g}, as in 0.05 for 5 %")
        found[metric] = value
    return found

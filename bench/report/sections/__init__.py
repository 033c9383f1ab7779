"""The sections, in the order of the report: one file each, one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.sections import (
    accuracy,
    breakdown,
    caveats,
    claims,
    comparison,
    data,
    devices,
    environment,
    failures,
    figures,
    flops,
    history,
    memory,
    pareto,
    peers,
    reproduce,
    roofline,
    routing,
    scaling,
    summary,
)

if TYPE_CHECKING:
    from bench.report.section import Build

TABLE: tuple[Build, ...] = (
    summary.build,
    claims.build,
    comparison.build,
    devices.build,
    history.build,
    pareto.build,
    peers.build,
    scaling.build,
    memory.build,
    breakdown.build,
    flops.build,
    roofline.build,
    routing.build,
    accuracy.build,
    figures.build,
    failures.build,
    caveats.build,
    environment.build,
    data.build,
    reproduce.build,
)

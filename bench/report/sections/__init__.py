"""The sections, in the order of the report: one file each, one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report.sections import (
    accuracy,
    caveats,
    comparison,
    devices,
    environment,
    failures,
    figures,
    flops,
    history,
    memory,
    peers,
    reproduce,
    routing,
    scaling,
    summary,
)

if TYPE_CHECKING:
    from bench.report.section import Build

TABLE: tuple[Build, ...] = (
    summary.build,
    comparison.build,
    devices.build,
    history.build,
    peers.build,
    scaling.build,
    memory.build,
    flops.build,
    routing.build,
    accuracy.build,
    figures.build,
    failures.build,
    caveats.build,
    environment.build,
    reproduce.build,
)

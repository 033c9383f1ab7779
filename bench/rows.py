"""Records as rows of the store's tables, and back."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from bench.records import Ceiling, Environment, Outcome, Run
from bench.schema import CEILINGS, OBSERVATIONS, OUTCOMES, RUNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def insert_run(connection: sql.Connection, run: Run) -> None:
    """Writes a run that begins now: it comes after all others, whatever their clocks said."""
    after = sql.select(sql.func.coalesce(sql.func.max(RUNS.c.position), 0) + 1).scalar_subquery()
    connection.execute(
        RUNS.insert().values(
            id=run.id,
            position=after,
            name=run.name,
            grid=run.grid,
            description=run.description,
            command=run.command,
            settings=dict(run.settings),
            comparable=dict(run.environment.comparable),
            informational=dict(run.environment.informational),
            started=run.started,
            finished=None,
            state="running",
        )
    )


def run(row: Mapping[str, Any] | sql.RowMapping) -> Run:
    """Returns a run from its row."""
    return Run(
        id=row["id"],
        name=row["name"],
        grid=row["grid"],
        description=row["description"],
        command=row["command"],
        settings=row["settings"],
        environment=Environment(row["comparable"], row["informational"]),
        started=row["started"],
        finished=row["finished"],
        state=row["state"],
    )


def insert_outcome(connection: sql.Connection, run_id: str, outcome: Outcome) -> None:
    """Writes one outcome and its observations."""
    connection.execute(
        OUTCOMES.insert().values(
            run_id=run_id,
            case_id=outcome.case_id,
            repeat=outcome.repeat,
            status=outcome.status.value,
            detail=outcome.detail,
            flags=[{"code": flag.code, "detail": flag.detail} for flag in outcome.flags],
            facts=dict(outcome.facts),
            started=outcome.started,
            finished=outcome.finished,
        )
    )
    if outcome.observations:
        connection.execute(
            OBSERVATIONS.insert(),
            [
                {
                    "run_id": run_id,
                    "case_id": outcome.case_id,
                    "repeat": outcome.repeat,
                    "metric": observation.metric,
                    "unit": observation.unit,
                    "samples": _finite(observation.samples),
                }
                for observation in outcome.observations
            ],
        )


def replace_ceilings(connection: sql.Connection, machine: Environment, ceilings: Sequence[Ceiling]) -> None:
    """Writes the ceilings of a machine's devices in the place of those that the same devices had."""
    devices = {ceiling.device for ceiling in ceilings}
    same = CEILINGS.c.fingerprint == machine.fingerprint
    connection.execute(CEILINGS.delete().where(same, CEILINGS.c.device.in_(devices)))
    if ceilings:
        connection.execute(
            CEILINGS.insert(),
            [
                {
                    "fingerprint": machine.fingerprint,
                    "device": ceiling.device,
                    "what": ceiling.what,
                    "unit": ceiling.unit,
                    "samples": _finite(ceiling.samples),
                    "detail": ceiling.detail,
                    "comparable": dict(machine.comparable),
                    "measured": time.time(),
                }
                for ceiling in ceilings
            ],
        )


def ceiling(row: Mapping[str, Any] | sql.RowMapping) -> Ceiling:
    """Returns a ceiling from its row."""
    return Ceiling(row["device"], row["what"], row["unit"], tuple(row["samples"]), row["detail"])


def _finite(samples: Sequence[float]) -> list[float]:
    """Returns samples as they are stored.

    Raises:
        ValueError: one is not a finite number.
    """
    found: list[float] = json.loads(json.dumps(samples, allow_nan=False))
    return found

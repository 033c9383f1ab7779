"""Records as rows of the store's tables, and back."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sql

from bench import medians
from bench.records import Ceiling, Environment, Flag, Outcome, Run, Status
from bench.schema import CASES, CEILINGS, OBSERVATIONS, OUTCOMES, PLANS, RUNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Observation, Planned

SIZES = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}
"""How a database says how many bytes it takes."""


def insert_run(connection: sql.Connection, run: Run, *, first: bool = False) -> None:
    """Writes a run as one that comes after all others, or `first`, before them, whatever their clocks said."""
    end = sql.func.min(RUNS.c.position) - 1 if first else sql.func.max(RUNS.c.position) + 1
    place = sql.select(sql.func.coalesce(end, 1)).scalar_subquery()
    connection.execute(RUNS.insert().values(id=run.id, position=place, **_of_run(run)))


def replace_run(connection: sql.Connection, run: Run) -> None:
    """Writes a run over the one of its id, whose plan and outcomes are forgotten; baselines go on standing for it."""
    for table in (OUTCOMES, PLANS):
        connection.execute(table.delete().where(table.c.run_id == run.id))
    connection.execute(RUNS.update().where(RUNS.c.id == run.id).values(**_of_run(run)))


def _of_run(run: Run) -> dict[str, Any]:
    """Returns the columns of a run but for its id and its place."""
    return {
        "name": run.name,
        "grid": run.grid,
        "description": run.description,
        "command": run.command,
        "settings": dict(run.settings),
        "comparable": dict(run.environment.comparable),
        "informational": dict(run.environment.informational),
        "started": run.started,
        "finished": run.finished,
        "state": run.state,
    }


def insert_plan(connection: sql.Connection, run: Run, planned: Sequence[Planned], *, first: int = 0) -> None:
    """Writes the plan of a run and the cases that are new; those that it skips get their outcome at once.

    `first` is the position of the first of them.
    """
    known = set(connection.execute(sql.select(CASES.c.id)).scalars())
    fresh = [{"id": p.case.id, "axes": dict(p.case)} for p in planned if p.case.id not in known]
    if fresh:
        connection.execute(CASES.insert(), fresh)
    if planned:
        connection.execute(
            PLANS.insert(),
            [
                {"run_id": run.id, "case_id": p.case.id, "position": i, "skip": p.skip}
                for i, p in enumerate(planned, first)
            ],
        )
    skipped = [
        Outcome(p.case.id, 0, Status.SKIPPED, p.skip, started=run.started, finished=run.started)
        for p in planned
        if p.skip is not None
    ]
    insert_outcomes(connection, run.id, skipped)


def delete_runs(connection: sql.Connection, ids: Sequence[str]) -> None:
    """Removes runs with all that hangs on them, and the cases that no plan names any more."""
    for id_ in ids:
        connection.execute(RUNS.delete().where(RUNS.c.id == id_))
    orphans = CASES.c.id.not_in(sql.select(PLANS.c.case_id))
    if not connection.execute(sql.select(CASES.c.id).where(orphans).limit(1)).first():
        return
    # without an index, every deleted case would make the database read all outcomes and plans for who refers to it
    for table in (OUTCOMES, PLANS):
        connection.execute(sql.text(f"CREATE INDEX prune_{table.name} ON {table.name} (case_id)"))
    connection.execute(CASES.delete().where(orphans))
    for table in (OUTCOMES, PLANS):
        connection.execute(sql.text(f"DROP INDEX prune_{table.name}"))


def sizes(connection: sql.Connection) -> dict[str, tuple[int, int, int]]:
    """Returns outcomes, samples and bytes of text of each run that has any."""

    def bytes_of(column: sql.Column[Any]) -> sql.ColumnElement[int]:
        return sql.func.coalesce(sql.func.length(sql.cast(column, sql.Text)), 0)

    outcomes = sql.select(
        OUTCOMES.c.run_id,
        sql.func.count(),
        sql.func.sum(bytes_of(OUTCOMES.c.facts) + bytes_of(OUTCOMES.c.detail) + bytes_of(OUTCOMES.c.flags)),
    ).group_by(OUTCOMES.c.run_id)
    samples = sql.select(
        OBSERVATIONS.c.run_id,
        sql.func.sum(sql.func.json_array_length(OBSERVATIONS.c.samples)),
        sql.func.sum(bytes_of(OBSERVATIONS.c.samples)),
    ).group_by(OBSERVATIONS.c.run_id)
    found = {id_: (int(count), 0, int(size)) for id_, count, size in connection.execute(outcomes)}
    for id_, count, size in connection.execute(samples):
        found[id_] = (found[id_][0], int(count), found[id_][2] + int(size))
    return found


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


def insert_outcomes(connection: sql.Connection, run_id: str, outcomes: Sequence[Outcome]) -> None:
    """Writes outcomes and their observations."""
    of_outcomes = [
        {
            "run_id": run_id,
            "case_id": outcome.case_id,
            "repeat": outcome.repeat,
            "status": outcome.status.value,
            "detail": outcome.detail,
            "flags": [{"code": flag.code, "detail": flag.detail} for flag in outcome.flags],
            "facts": dict(outcome.facts),
            "started": outcome.started,
            "finished": outcome.finished,
            **medians.of_outcome(outcome)._asdict(),
        }
        for outcome in outcomes
    ]
    observed = [
        {
            "run_id": run_id,
            "case_id": outcome.case_id,
            "repeat": outcome.repeat,
            "metric": observation.metric,
            "unit": observation.unit,
            "samples": _finite(observation.samples),
        }
        for outcome in outcomes
        for observation in outcome.observations
    ]
    if of_outcomes:
        connection.execute(OUTCOMES.insert(), of_outcomes)
    if observed:
        connection.execute(OBSERVATIONS.insert(), observed)


def size(connection: sql.Connection) -> int | None:
    """Returns the bytes that the database takes, None where it does not tell."""
    query = SIZES.get(connection.dialect.name)
    return None if query is None else int(connection.execute(sql.text(query)).scalar_one())


def shrink(engine: sql.Engine) -> None:
    """Gives the room of what was deleted back to the disk, where that has to be asked for; in no transaction."""
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM")


def outcome(row: Mapping[str, Any] | sql.RowMapping, observations: Sequence[Observation]) -> Outcome:
    """Returns an outcome from its row and what was observed in it."""
    return Outcome(
        case_id=row["case_id"],
        repeat=row["repeat"],
        status=Status(row["status"]),
        detail=row["detail"],
        flags=tuple(Flag(**flag) for flag in row["flags"]),
        observations=tuple(observations),
        facts=row["facts"],
        started=row["started"],
        finished=row["finished"],
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

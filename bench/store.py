"""Runs, outcomes, observations, baselines and ceilings in SQL; one transaction per outcome with all its observations.

SQLAlchemy Core over a SQLite file by default; any other database that SQLAlchemy reaches is a URL.
"""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from bench import rows
from bench.errors import InputError, StoreError, unknown
from bench.records import Case, Observation, Outcome, Planned, Run
from bench.schema import BASELINES, CASES, CEILINGS, OBSERVATIONS, OUTCOMES, PLANS, RUNS, connect, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.records import Ceiling, Environment


@dataclass(frozen=True)
class Baseline:
    """A name for a run to compare with; `saved` is seconds since the epoch."""

    name: str
    run: Run
    saved: float


class Store:
    """The results of many runs; several processes may write and read at once."""

    def __init__(self, engine: sql.Engine, shown_as: str) -> None:
        self._engine = engine
        self.shown_as = shown_as

    @contextmanager
    def _transaction(self) -> Iterator[sql.Connection]:
        """Yields a connection whose writes are kept whole or not at all."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"store {self.shown_as}: {reason(error)}") from error

    def close(self) -> None:
        """Gives back every connection."""
        self._engine.dispose()

    # runs

    def start_run(self, run: Run, plan: Iterable[Planned]) -> None:
        """Keeps a new run with its plan; cases that the plan skips get their outcome at once.

        Raises:
            StoreError: it cannot be written, or another run has the name.
        """
        planned = list(plan)
        with self._transaction() as connection:
            if connection.execute(sql.select(RUNS.c.id).where(RUNS.c.name == run.name)).first():
                raise InputError(f"store {self.shown_as} already has a run named {run.name}: choose another --name")
            rows.insert_run(connection, replace(run, state="running", finished=None))
            rows.insert_plan(connection, run, planned)

    def keep_run(self, run: Run, plan: Sequence[Planned], outcomes: Sequence[Outcome], *, first: bool = False) -> None:
        """Keeps a run that was measured elsewhere, whole or not at all, in the place of the one of its id if there is.

        A new one becomes the latest, or with `first` the oldest: what is only compared with is never the latest.

        Raises:
            InputError: another run has the name.
        """
        with self._transaction() as connection:
            ids = {name: id_ for name, id_ in connection.execute(sql.select(RUNS.c.name, RUNS.c.id))}  # noqa: C416
            if ids.get(run.name, run.id) != run.id:
                raise InputError(f"store {self.shown_as} already has a run named {run.name}: choose another --name")
            if run.id in ids.values():
                rows.replace_run(connection, run)
            else:
                rows.insert_run(connection, run, first=first)
            rows.insert_plan(connection, run, plan)
            rows.insert_outcomes(connection, run.id, outcomes)

    def add_outcome(self, run_id: str, outcome: Outcome) -> None:
        """Keeps one outcome with all its observations, or nothing of it; an earlier one of the repeat is replaced."""
        with self._transaction() as connection:
            same = [OUTCOMES.c.run_id == run_id, OUTCOMES.c.case_id == outcome.case_id]
            connection.execute(OUTCOMES.delete().where(*same, OUTCOMES.c.repeat == outcome.repeat))
            rows.insert_outcomes(connection, run_id, [outcome])

    def set_state(self, run_id: str, state: str) -> None:
        """Marks a run as running, complete or interrupted."""
        with self._transaction() as connection:
            finished = None if state == "running" else time.time()
            connection.execute(RUNS.update().where(RUNS.c.id == run_id).values(state=state, finished=finished))

    def add_case(self, run: Run, case: Case) -> None:
        """Adds a case to the end of a run's plan, unless it has it."""
        planned = self.plan(run.id)
        if case not in [p.case for p in planned]:
            with self._transaction() as connection:
                rows.insert_plan(connection, run, [Planned(case)], first=len(planned))

    def runs(self) -> list[Run]:
        """Returns every run in the order in which they were begun."""
        with self._transaction() as connection:
            query = sql.select(RUNS).order_by(RUNS.c.position, RUNS.c.started, RUNS.c.id)
            return [rows.run(row) for row in connection.execute(query).mappings()]

    def find(self, word: str) -> Run:
        """Returns the run that a word names: id, unique prefix of an id, name, `latest` or `baseline:NAME`.

        Raises:
            InputError: no run or several have it.
        """
        if word.startswith("baseline:"):
            return self.baseline(word.removeprefix("baseline:")).run
        runs = self.runs()
        if not runs:
            raise InputError(f"store {self.shown_as} has no run yet: make one with `softmoe-bench run --grid quick`")
        if word == "latest":
            return runs[-1]
        exact = [run for run in runs if word in (run.name, run.id)]
        found = exact or [run for run in runs if len(word) >= 3 and run.id.startswith(word)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"run {word} is not unique: {', '.join(run.id for run in found)}")
        names = ", ".join(run.name for run in runs[-8:])
        raise InputError(f"store {self.shown_as} has no run {word} (newest: {names}; all: `softmoe-bench list runs`)")

    def plan(self, run_id: str) -> list[Planned]:
        """Returns the cases of a run in order."""
        query = (
            sql.select(CASES.c.axes, PLANS.c.skip)
            .join(CASES, CASES.c.id == PLANS.c.case_id)
            .where(PLANS.c.run_id == run_id)
            .order_by(PLANS.c.position)
        )
        with self._transaction() as connection:
            return [Planned(Case(axes), skip) for axes, skip in connection.execute(query)]

    def outcomes(self, run_id: str) -> list[Outcome]:
        """Returns every outcome of a run with its observations, in the order of case and repeat."""
        wanted = sql.select(OBSERVATIONS).where(OBSERVATIONS.c.run_id == run_id).order_by(OBSERVATIONS.c.metric)
        with self._transaction() as connection:
            seen = connection.execute(wanted).mappings()
            observed: dict[tuple[str, int], list[Observation]] = {}
            for row in seen:
                key = (row["case_id"], row["repeat"])
                observed.setdefault(key, []).append(Observation(row["metric"], row["unit"], tuple(row["samples"])))
            found = connection.execute(
                sql.select(OUTCOMES)
                .join(PLANS, (PLANS.c.run_id == OUTCOMES.c.run_id) & (PLANS.c.case_id == OUTCOMES.c.case_id))
                .where(OUTCOMES.c.run_id == run_id)
                .order_by(PLANS.c.position, OUTCOMES.c.repeat)
            ).mappings()
            return [rows.outcome(row, observed.get((row["case_id"], row["repeat"]), ())) for row in found]

    def read(self, query: sql.Select[Any], *, plain: bool = False) -> list[tuple[Any, ...]]:
        """Returns the rows of a query that another module made; `plain` ones, of numbers and texts, much faster."""
        with self._transaction() as connection:
            found: Any = connection.execute(query)
            return list(found.cursor.fetchall()) if plain else [tuple(row) for row in found]

    def free_name(self, stem: str) -> str:
        """Returns the stem with the first number that no run has yet: quick-1, quick-2, ..."""
        taken = {run.name for run in self.runs()}
        return next(name for i in range(1, len(taken) + 2) if (name := f"{stem}-{i}") not in taken)

    # size

    def sizes(self) -> dict[str, tuple[int, int, int]]:
        """Returns outcomes, samples and bytes of each run, by id; bytes are those of its texts alone."""
        with self._transaction() as connection:
            measured = rows.sizes(connection)
        return {run.id: measured.get(run.id, (0, 0, 0)) for run in self.runs()}

    def size(self) -> int | None:
        """Returns the bytes that the whole database takes, None where it does not tell."""
        with self._transaction() as connection:
            return rows.size(connection)

    def delete_runs(self, ids: Sequence[str]) -> None:
        """Removes runs with their plans, outcomes and observations, and the cases that are left without a plan.

        Raises:
            StoreError: it cannot be written, or a baseline stands for one of them; then all are still there.
        """
        with self._transaction() as connection:
            rows.delete_runs(connection, ids)

    def shrink(self) -> None:
        """Gives the room of what was deleted back to the disk, where that has to be asked for: in SQLite.

        Raises:
            StoreError: another program is using the store, or the disk is too full for it.
        """
        try:
            rows.shrink(self._engine)
        except SQLAlchemyError as error:
            raise StoreError(f"store {self.shown_as} could not be shrunk: {reason(error)}") from error

    # ceilings

    def keep_ceilings(self, machine: Environment, ceilings: Sequence[Ceiling]) -> None:
        """Keeps what a machine's devices were measured to reach; what was known of these devices is forgotten."""
        with self._transaction() as connection:
            rows.replace_ceilings(connection, machine, ceilings)

    def ceilings(self, fingerprint: str) -> tuple[Ceiling, ...]:
        """Returns the ceilings measured on a machine with this fingerprint, none where it was never calibrated."""
        query = sql.select(CEILINGS).where(CEILINGS.c.fingerprint == fingerprint)
        with self._transaction() as connection:
            found = connection.execute(query.order_by(CEILINGS.c.device, CEILINGS.c.what)).mappings()
            return tuple(rows.ceiling(row) for row in found)

    # baselines

    def save_baseline(self, name: str, run: Run) -> None:
        """Lets a name stand for a run; a name in use then stands for the new one."""
        with self._transaction() as connection:
            connection.execute(BASELINES.delete().where(BASELINES.c.name == name))
            connection.execute(BASELINES.insert().values(name=name, run_id=run.id, saved=time.time()))

    def baselines(self) -> list[Baseline]:
        """Returns every baseline by name."""
        query = sql.select(BASELINES.c.name.label("baseline"), BASELINES.c.saved, RUNS).join(
            RUNS, RUNS.c.id == BASELINES.c.run_id
        )
        with self._transaction() as connection:
            found = connection.execute(query.order_by(BASELINES.c.name)).mappings()
            return [Baseline(row["baseline"], rows.run(row), row["saved"]) for row in found]

    def baseline(self, name: str) -> Baseline:
        """Returns the named baseline.

        Raises:
            InputError: there is none of that name.
        """
        baselines = {baseline.name: baseline for baseline in self.baselines()}
        if name in baselines:
            return baselines[name]
        have = f"it has: {', '.join(baselines)}" if baselines else "it has none yet"
        raise InputError(
            f"store {self.shown_as} has no baseline {name} ({have}); save one with `softmoe-bench baseline save {name}`"
        )

    def find_baseline(self, name: str) -> Run | None:
        """Returns the run of a baseline, None where the store has no baseline at all: a first run, not a mistake.

        Raises:
            InputError: there are others, so that the name is a typing error.
        """
        baselines = {baseline.name: baseline.run for baseline in self.baselines()}
        if name not in baselines and baselines:
            raise InputError(f"store {self.shown_as}: {unknown('baseline', name, baselines)}")
        return baselines.get(name)

    def delete_baseline(self, name: str) -> None:
        """Forgets the name; the run stays."""
        self.baseline(name)
        with self._transaction() as connection:
            connection.execute(BASELINES.delete().where(BASELINES.c.name == name))


def new_run_id() -> str:
    """Returns a fresh run id: twelve hexadecimal digits."""
    return secrets.token_hex(6)


def open_store(where: str | None = None, *, create: bool = False) -> Store:
    """Returns the store at a path or URL; with `create` a missing one is made.

    Raises:
        StoreError: it does not exist, cannot be reached, is not ours, or has a form that this version cannot read.
    """
    return Store(*connect(where, create=create))


def ceilings_in(where: str | None, fingerprint: str) -> tuple[Ceiling, ...]:
    """Returns the ceilings that a store holds of a machine, and leaves a store of an older form as it is.

    Raises:
        StoreError: see `open_store`.
    """
    engine, shown_as = connect(where, create=False, make=False)
    store = Store(engine, shown_as)
    try:
        return store.ceilings(fingerprint) if sql.inspect(engine).has_table(CEILINGS.name) else ()
    finally:
        store.close()

"""The tables of the store, what is checked before a database is taken for ours, and how older forms are migrated."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from bench import medians
from bench.errors import StoreError
from bench.records import SCHEMA, SCHEMA_VERSION, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = "softmoe-bench.db"
APPLICATION = "softmoe-bench"
BUSY_SECONDS = 60.0
"""How long a writer waits for another one."""

METADATA = sql.MetaData()

META = sql.Table(
    "meta", METADATA, sql.Column("key", sql.String(64), primary_key=True), sql.Column("value", sql.Text, nullable=False)
)
RUNS = sql.Table(
    "runs",
    METADATA,
    sql.Column("id", sql.String(12), primary_key=True),
    sql.Column("position", sql.Integer, nullable=False, server_default="0"),
    sql.Column("name", sql.String(200), nullable=False, unique=True),
    sql.Column("grid", sql.Text, nullable=False),
    sql.Column("description", sql.Text, nullable=False),
    sql.Column("command", sql.Text, nullable=False),
    sql.Column("settings", sql.JSON, nullable=False),
    sql.Column("comparable", sql.JSON, nullable=False),
    sql.Column("informational", sql.JSON, nullable=False),
    sql.Column("started", sql.Double, nullable=False),
    sql.Column("finished", sql.Double),
    sql.Column("state", sql.String(16), nullable=False),
)
CASES = sql.Table(
    "cases", METADATA, sql.Column("id", sql.String(16), primary_key=True), sql.Column("axes", sql.JSON, nullable=False)
)
PLANS = sql.Table(
    "plans",
    METADATA,
    sql.Column("run_id", sql.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sql.Column("case_id", sql.ForeignKey("cases.id"), primary_key=True),
    sql.Column("position", sql.Integer, nullable=False),
    sql.Column("skip", sql.Text),
)
OUTCOMES = sql.Table(
    "outcomes",
    METADATA,
    sql.Column("run_id", sql.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sql.Column("case_id", sql.ForeignKey("cases.id"), primary_key=True),
    sql.Column("repeat", sql.Integer, primary_key=True),
    sql.Column("status", sql.String(16), nullable=False),
    sql.Column("detail", sql.Text, nullable=False),
    sql.Column("flags", sql.JSON, nullable=False),
    sql.Column("facts", sql.JSON, nullable=False),
    sql.Column("started", sql.Double, nullable=False),
    sql.Column("finished", sql.Double, nullable=False),
    sql.Column("latency", sql.Double),
    sql.Column("relative_latency", sql.Double),
    sql.Column("half_width", sql.Double),
    sql.Column("samples", sql.Integer),
)
OBSERVATIONS = sql.Table(
    "observations",
    METADATA,
    sql.Column("run_id", sql.String(12), primary_key=True),
    sql.Column("case_id", sql.String(16), primary_key=True),
    sql.Column("repeat", sql.Integer, primary_key=True),
    sql.Column("metric", sql.String(64), primary_key=True),
    sql.Column("unit", sql.String(16), nullable=False),
    sql.Column("samples", sql.JSON, nullable=False),
    sql.ForeignKeyConstraint(
        ["run_id", "case_id", "repeat"],
        ["outcomes.run_id", "outcomes.case_id", "outcomes.repeat"],
        ondelete="CASCADE",
    ),
)
BASELINES = sql.Table(
    "baselines",
    METADATA,
    sql.Column("name", sql.String(200), primary_key=True),
    sql.Column("run_id", sql.ForeignKey("runs.id"), nullable=False),
    sql.Column("saved", sql.Double, nullable=False),
)
CEILINGS = sql.Table(
    "ceilings",
    METADATA,
    sql.Column("fingerprint", sql.String(12), primary_key=True),
    sql.Column("device", sql.String(16), primary_key=True),
    sql.Column("what", sql.String(16), primary_key=True),
    sql.Column("unit", sql.String(16), nullable=False),
    sql.Column("samples", sql.JSON, nullable=False),
    sql.Column("detail", sql.Text, nullable=False),
    sql.Column("comparable", sql.JSON, nullable=False),
    sql.Column("measured", sql.Double, nullable=False),
)
FORM_1 = frozenset(METADATA.tables) - {"ceilings"}
"""The tables that every store has, whatever its form."""


def connect(where: str | None, *, create: bool, make: bool = True) -> tuple[sql.Engine, str]:
    """Returns a checked engine for a path or URL and how to name it to people; with `create` a missing store is made.

    A store of an older form is brought to today's. Without `make` nothing is written: an empty database is accepted and
    left empty, an older store is accepted and left as it is.

    Raises:
        StoreError: it does not exist, cannot be reached, is not ours, or has a form that this version cannot read.
    """
    where = where or DEFAULT
    url = where if "://" in where else f"sqlite:///{where}"
    try:
        parsed = sql.make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        where = shown_as = str(parsed.database) if is_sqlite else parsed.render_as_string()
        engine = sql.create_engine(parsed, connect_args={"timeout": BUSY_SECONDS} if is_sqlite else {})
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(f"store {where}: {reason(error)}; give a path or a SQLAlchemy URL") from None
    if is_sqlite:
        _check_path(Path(shown_as), create=create)
        sql.event.listen(engine, "connect", _enforce_foreign_keys)
    try:
        _check_form(engine, shown_as, create=create, make=make)
    except SQLAlchemyError as error:
        engine.dispose()
        raise StoreError(f"store {shown_as}: {reason(error)}") from None
    except StoreError:
        engine.dispose()
        raise
    return engine, shown_as


def _check_path(path: Path, *, create: bool) -> None:
    """Refuses a path that cannot hold or does not hold a store."""
    if path.is_dir():
        raise StoreError(f"store {path} is a folder: give the path of a file")
    if path.exists():
        return
    if not create:
        raise StoreError(f"store {path} does not exist: make it with `softmoe-bench run`, or name another with --store")
    if not path.absolute().parent.is_dir():
        raise StoreError(f"store {path}: the folder {path.absolute().parent} does not exist")


def _check_form(engine: sql.Engine, shown_as: str, *, create: bool, make: bool) -> None:
    """Makes the tables of a new store, migrates an older one, and refuses one of another program or a newer one."""
    tables = set(sql.inspect(engine).get_table_names())
    if not tables and not create:
        raise StoreError(f"store {shown_as} is empty: make a run in it with `softmoe-bench run --store {shown_as}`")
    if not tables:
        if make:
            with _alone(engine) as connection:
                _make(connection)
        return
    if not tables >= FORM_1:
        raise StoreError(f"store {shown_as} belongs to another program (its tables: {', '.join(sorted(tables)[:5])})")
    with engine.connect() as connection:
        facts = {key: value for key, value in connection.execute(sql.select(META.c.key, META.c.value))}  # noqa: C416
    if facts.get("application") != APPLICATION:
        raise StoreError(f"store {shown_as} belongs to another program ({facts.get('application', 'unnamed')})")
    version = int(facts.get("schema", 0))
    if version not in SCHEMA:
        newer = "use a newer softmoe-bench" if version > SCHEMA_VERSION else "this version has no way to read it"
        raise StoreError(f"store {shown_as} has form {version}, this program writes form {SCHEMA_VERSION}: {newer}")
    if version < SCHEMA_VERSION and make:
        try:
            with _alone(engine) as connection:
                _migrate(connection)
        except SQLAlchemyError as error:
            raise StoreError(
                f"store {shown_as} has form {version} and must once be brought to form {SCHEMA_VERSION}, but it cannot"
                f" be written: {reason(error)}; make it writable, or copy it and give the copy with --store"
            ) from error


@contextmanager
def _alone(engine: sql.Engine) -> Iterator[sql.Connection]:
    """Yields a connection whose changes, tables and columns included, are kept whole or not at all.

    On SQLite nobody else writes meanwhile; its driver would begin no transaction for tables, so it is begun here.
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            with suppress(SQLAlchemyError):  # SQLite itself goes back when its disk is full
                connection.exec_driver_sql("ROLLBACK")
            raise


def _make(connection: sql.Connection) -> None:
    """Makes the tables of a store, unless somebody else just has."""
    METADATA.create_all(connection)
    if not connection.execute(sql.select(META.c.key)).first():
        facts = {"application": APPLICATION, "schema": str(SCHEMA_VERSION)}
        connection.execute(META.insert(), [{"key": key, "value": value} for key, value in facts.items()])


def _migrate(connection: sql.Connection) -> None:
    """Brings a store to today's form, step by step, unless somebody else just has; its version is written last.

    Each step may be done again, for databases that keep a new table or column whatever becomes of the transaction.
    """
    here = META.c.key == "schema"
    version = int(connection.execute(sql.select(META.c.value).where(here).with_for_update()).scalar_one())
    for form in range(version + 1, SCHEMA_VERSION + 1):
        STEPS[form](connection)
    if version < SCHEMA_VERSION:
        connection.execute(META.update().where(here).values(value=str(SCHEMA_VERSION)))


def _to_form_2(connection: sql.Connection) -> None:
    """Adds the table of ceilings, and numbers the runs in the order that their clocks tell."""
    CEILINGS.create(connection, checkfirst=True)
    if "position" not in {column["name"] for column in sql.inspect(connection).get_columns("runs")}:
        connection.execute(sql.text("ALTER TABLE runs ADD COLUMN position INTEGER DEFAULT 0 NOT NULL"))
    ids = connection.execute(sql.select(RUNS.c.id).order_by(RUNS.c.started, RUNS.c.id)).scalars().all()
    for position, id_ in enumerate(ids, 1):
        connection.execute(RUNS.update().where(RUNS.c.id == id_).values(position=position))


def _to_form_3(connection: sql.Connection) -> None:
    """Keeps the medians of each process beside its samples."""
    there = {column["name"] for column in sql.inspect(connection).get_columns("outcomes")}
    for name in medians.Medians._fields:
        if name not in there:
            form = OUTCOMES.c[name].type.compile(connection.dialect)
            connection.execute(sql.text(f"ALTER TABLE outcomes ADD COLUMN {name} {form}"))
    for id_ in connection.execute(sql.select(RUNS.c.id)).scalars().all():
        _keep_medians(connection, id_)


def _keep_medians(connection: sql.Connection, run_id: str) -> None:
    """Writes the medians of the processes of a run."""
    wanted = OBSERVATIONS.c.run_id == run_id, OBSERVATIONS.c.metric.in_(medians.METRICS)
    seen = sql.select(OBSERVATIONS.c.case_id, OBSERVATIONS.c.repeat, OBSERVATIONS.c.metric, OBSERVATIONS.c.samples)
    observed: dict[tuple[str, int], dict[str, list[float]]] = {}
    for case_id, repeat, metric, samples in connection.execute(seen.where(*wanted)):
        observed.setdefault((case_id, repeat), {})[metric] = samples
    ended = sql.select(OUTCOMES.c.case_id, OUTCOMES.c.repeat, OUTCOMES.c.status, OUTCOMES.c.facts)
    found = [
        {"of": case_id, "at": repeat, **medians.of_process(Status(status), observed[case_id, repeat], facts)._asdict()}
        for case_id, repeat, status, facts in connection.execute(ended.where(OUTCOMES.c.run_id == run_id))
        if (case_id, repeat) in observed
    ]
    if found:
        here = OUTCOMES.c.run_id == run_id, OUTCOMES.c.case_id == sql.bindparam("of")
        connection.execute(OUTCOMES.update().where(*here, OUTCOMES.c.repeat == sql.bindparam("at")), found)


STEPS = {2: _to_form_2, 3: _to_form_3}
"""What brings a store of the form before to each form."""


def _enforce_foreign_keys(connection: Any, _record: object) -> None:  # noqa: ANN401  (a DB-API connection has no type)
    """Lets SQLite remove observations together with their outcome."""
    connection.execute("PRAGMA foreign_keys = ON")


def reason(error: Exception) -> str:
    """Returns the database's own words, without SQLAlchemy's statement and link."""
    words = str(error.orig) if isinstance(error, DBAPIError) and error.orig else str(error)
    return words.strip().splitlines()[0]


def check(where: str | None) -> None:
    """Refuses a store that exists and is not ours, or that could not be made; writes nothing.

    Raises:
        StoreError: see `connect`.
    """
    path = Path(where or DEFAULT)
    if "://" in str(where) or path.exists():
        engine, _ = connect(where, create=True, make=False)
        engine.dispose()
        if "://" not in str(where) and not os.access(path, os.W_OK):
            raise StoreError(f"store {path} cannot be written: no permission")
        return
    _check_path(path, create=True)
    if not os.access(path.absolute().parent, os.W_OK):
        raise StoreError(f"store {path} cannot be made: no permission to write in {path.absolute().parent}")

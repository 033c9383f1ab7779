"""Stores of older forms: migrated when opened, whole or not at all, by one process of many."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import sqlalchemy as sql
from recorded import CEILINGS, open_and_count, run, soft, timed

from bench import schema
from bench.errors import StoreError
from bench.records import SCHEMA, SCHEMA_VERSION, Observation, Planned, Status
from bench.results import load
from bench.schema import check
from bench.stats import precision
from bench.store import open_store

STORES = Path(__file__).parents[1] / "data" / "stores"


def copy_of(form: int, folder: Path) -> Path:
    path = folder / f"form-{form}.db"
    path.write_bytes((STORES / path.name).read_bytes())
    return path


def ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def form(path: Path) -> str:
    return str(ask(path, "SELECT value FROM meta WHERE key = 'schema'")[0][0])


@pytest.mark.parametrize("number", sorted(SCHEMA))
def test_stores_of_every_form_are_read(number: int, tmp_path: Path) -> None:
    path = copy_of(number, tmp_path)
    store = open_store(str(path))
    found = load(store, store.find("baseline:main"))
    assert [result.status for result in found.cases] == [Status.OK, Status.TIMEOUT, Status.SKIPPED]
    assert found.cases[0].value("latency") == pytest.approx(2.0)
    assert found.cases[0].case == soft()
    assert store.ceilings(found.run.environment.fingerprint) == (() if number == 1 else CEILINGS)
    store.close()
    assert form(path) == str(SCHEMA_VERSION)


def test_a_store_of_todays_form_is_not_touched(tmp_path: Path) -> None:
    path = copy_of(SCHEMA_VERSION, tmp_path)
    store = open_store(str(path))
    store.find("latest")
    store.close()
    assert path.read_bytes() == (STORES / path.name).read_bytes()


def test_a_migrated_store_takes_new_runs_after_the_old_ones_and_ceilings(tmp_path: Path) -> None:
    path = copy_of(1, tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        row = list(connection.execute("SELECT * FROM runs").fetchone())
        for id_, name, started in (("aaaaaaaaaaaa", "older", 1.0), ("bbbbbbbbbbbb", "newer", 2e9)):
            connection.execute(
                f"INSERT INTO runs VALUES ({','.join('?' * len(row))})",  # noqa: S608
                [id_, name, *row[2:8], started, *row[9:]],
            )
    store = open_store(str(path))
    assert [found.name for found in store.runs()] == ["older", "quick-1", "newer"]
    store.start_run(run("today", id="cccccccccccc"), [Planned(soft())])
    assert [found.name for found in store.runs()] == ["older", "quick-1", "newer", "today"]
    store.keep_ceilings(run().environment, CEILINGS)
    assert store.ceilings(run().environment.fingerprint) == CEILINGS
    store.close()
    assert ask(path, "SELECT position FROM runs ORDER BY position") == [(1,), (2,), (3,), (4,)]


def test_a_migrated_store_has_the_columns_of_a_new_one(tmp_path: Path) -> None:
    old, new = copy_of(1, tmp_path), tmp_path / "new.db"
    open_store(str(old)).close()
    open_store(str(new), create=True).close()
    for table in schema.METADATA.tables:
        columns = f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{table}') ORDER BY name"  # noqa: S608
        found = [
            [(row[0], row[1], row[2], str(row[3]).strip("'"), row[4]) for row in ask(p, columns)] for p in (old, new)
        ]
        assert found[0] == found[1], table


def test_checking_leaves_an_older_store_as_it_is(tmp_path: Path) -> None:
    path = copy_of(1, tmp_path)
    check(str(path))
    assert path.read_bytes() == (STORES / path.name).read_bytes()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A migration that is interrupted after its last step, before the version is written."""

    def step(connection: sql.Connection) -> None:
        schema._to_form_2(connection)
        raise KeyboardInterrupt

    monkeypatch.setitem(schema.STEPS, 2, step)
    yield
    monkeypatch.undo()


@pytest.mark.usefixtures("failing")
def test_an_interrupted_migration_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    path = copy_of(1, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        open_store(str(path))
    assert form(path) == "1"
    assert ask(path, "SELECT name FROM sqlite_master WHERE name = 'ceilings'") == []
    assert "position" not in {name for (name,) in ask(path, "SELECT name FROM pragma_table_info('runs')")}


def test_a_process_killed_while_it_migrates_leaves_a_store_that_the_next_one_migrates(tmp_path: Path) -> None:
    path = copy_of(1, tmp_path)
    program = (
        "import os, signal, sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from bench import schema\n"
        "from bench.store import open_store\n"
        "first = schema._to_form_2\n"
        "schema.STEPS[2] = lambda connection: (first(connection), os.kill(os.getpid(), signal.SIGKILL))\n"
        f"open_store({str(path)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -9
    store = open_store(str(path))
    assert [found.name for found in store.runs()] == ["quick-1"]
    store.close()
    assert form(path) == str(SCHEMA_VERSION)


def test_steps_done_before_are_done_again_without_harm(tmp_path: Path) -> None:
    """On a database that keeps a new column although the transaction failed."""
    path = copy_of(1, tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE runs ADD COLUMN position INTEGER DEFAULT 0 NOT NULL")
        connection.execute("ALTER TABLE outcomes ADD COLUMN latency DOUBLE")
    store = open_store(str(path))
    assert store.find("latest").name == "quick-1"
    store.close()
    assert (form(path), ask(path, "SELECT position FROM runs")) == (str(SCHEMA_VERSION), [(1,)])
    assert ask(path, "SELECT latency, samples FROM outcomes WHERE repeat = 3") == [(4.0, 5)]


@pytest.mark.parametrize("number", [1, 2])
def test_a_migrated_store_has_the_medians_that_a_new_one_writes(number: int, tmp_path: Path) -> None:
    """Samples, facts and statuses as measured ones have them, written by this version and then taken back."""
    path = copy_of(number, tmp_path)
    processes = [
        timed(soft(), 1, 1.0),
        replace(timed(soft(), 2, 2.0), observations=(Observation("latency", "s", (3.0, 1.0, 2.0)),)),
        replace(timed(soft(), 3, 3.0, count=40), facts={"relative_half_width": 0.03, "samples_taken": 400}),
        replace(timed(soft(), 4, 4.0), status=Status.ERROR, detail="late"),
        replace(
            timed(soft(), 5, 5.0),
            observations=(
                Observation("latency", "s", tuple(5.0 + i % 7 for i in range(30))),
                Observation("reference_latency", "s", tuple(1e-3 * (1 + i % 3) for i in range(30))),
            ),
        ),
    ]
    store = open_store(str(path))
    store.start_run(run("many", id="dddddddddddd"), [Planned(soft())])
    for outcome in processes:
        store.add_outcome("dddddddddddd", outcome)
    store.close()
    kept = "SELECT latency, relative_latency, half_width, samples FROM outcomes ORDER BY run_id, case_id, repeat"
    written = ask(path, kept)
    assert written[-5:-1] == [
        (1.0, 1000.0, None, 5), (2.0, None, None, 3), (3.0, 3000.0, 0.03, 400), (4.0, None, None, 5)
    ]  # fmt: skip
    ratios = [(5.0 + i % 7) / (1e-3 * (1 + i % 3)) for i in range(30)]
    assert written[-1] == (8.0, pytest.approx(median(ratios)), pytest.approx(precision(ratios)), 30)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")
        connection.execute("UPDATE outcomes SET latency = NULL, relative_latency = 7, half_width = NULL, samples = 0")
    open_store(str(path)).close()
    migrated = ask(path, kept)
    timed_ones = [row for row in written if row[0] is not None]
    assert [row for row in migrated if row[0] is not None] == timed_ones


def test_many_processes_open_an_old_store_at_once(tmp_path: Path) -> None:
    path = copy_of(1, tmp_path)
    context = get_context("spawn")
    openers = [context.Process(target=open_and_count, args=(str(path), 1)) for _ in range(4)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()
    assert [opener.exitcode for opener in openers] == [0] * 4
    assert (form(path), ask(path, "SELECT position FROM runs")) == (str(SCHEMA_VERSION), [(1,)])


def test_an_old_store_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk or a file without permission: root may write anything."""
    path = copy_of(1, tmp_path)
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from bench.errors import StoreError\n"
        "from bench.store import open_store\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        f"    open_store({str(path)!r})\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"store {path} has form 1 and must once be brought to form 3, but it cannot be written: " in done.stdout
    assert "; make it writable, or copy it and give the copy with --store" in done.stdout
    assert form(path) == "1"


def test_a_store_of_a_form_before_the_first_is_refused(tmp_path: Path) -> None:
    path = copy_of(1, tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = '0' WHERE key = 'schema'")
    with pytest.raises(StoreError, match="has form 0, this program writes form 3: this version has no way to read it"):
        open_store(str(path))


def test_a_new_store_is_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.db"

    def make(connection: sql.Connection) -> None:
        schema.METADATA.create_all(connection)
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr(schema, "_make", make)
        with pytest.raises(KeyboardInterrupt):
            open_store(str(path), create=True)
    assert ask(path, "SELECT name FROM sqlite_master") == []
    store = open_store(str(path), create=True)
    assert store.runs() == []
    store.close()


@pytest.mark.postgres
def test_a_store_of_form_1_in_postgresql_is_migrated_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    where = os.environ["SOFTMOE_BENCH_TEST_POSTGRES"]
    engine = sql.create_engine(where)
    schema.METADATA.drop_all(engine)
    store = open_store(where, create=True)
    store.start_run(run(), [Planned(soft())])
    store.close()
    with engine.begin() as connection:
        schema.CEILINGS.drop(connection)
        connection.execute(sql.text("ALTER TABLE runs DROP COLUMN position"))
        connection.execute(sql.text("ALTER TABLE outcomes DROP COLUMN relative_latency"))
        connection.execute(schema.META.update().where(schema.META.c.key == "schema").values(value="1"))

    def step(connection: sql.Connection) -> None:
        schema._to_form_2(connection)
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setitem(schema.STEPS, 2, step)
        with pytest.raises(KeyboardInterrupt):
            open_store(where)
    assert "position" not in {column["name"] for column in sql.inspect(engine).get_columns("runs")}
    store = open_store(where)
    store.start_run(run("quick-2", id="bbbbbbbbbbbb"), [Planned(soft())])
    assert [found.name for found in store.runs()] == ["quick-1", "quick-2"]
    store.keep_ceilings(run().environment, CEILINGS)
    assert store.ceilings(run().environment.fingerprint) == CEILINGS
    store.close()
    schema.METADATA.drop_all(engine)
    engine.dispose()

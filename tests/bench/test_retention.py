"""Old runs go, with all that hangs on them; baselines and what still runs stay."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from recorded import dense, failed, inspected, measured, run, soft

from bench.errors import InputError, StoreError
from bench.records import Planned
from bench.retention import Choice, choose, held, of_grid, parse_age
from bench.store import Store, open_store

DAY = 86400.0
NOW = 1_700_000_000.0 + 100 * DAY
AGES = {"a" * 12: 90, "b" * 12: 60, "c" * 12: 30, "d" * 12: 1}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Four runs of grid quick, 90, 60, 30 and 1 days old, and one of a file, 80 days old."""
    opened = open_store(str(tmp_path / "s.db"), create=True)
    for id_, days in AGES.items():
        add(opened, id_, days, "quick", extra=id_.startswith("a"))
    add(opened, "e" * 12, 80, "my/own.toml")
    return opened


def add(store: Store, id_: str, days: float, grid: str, *, extra: bool = False) -> None:
    """Keeps a run of soft; with `extra` also of dense, which no other run has."""
    cases = [soft(), dense()] if extra else [soft()]
    of = replace(run(f"run-{id_[0]}", id=id_), grid=grid, started=NOW - days * DAY)
    store.start_run(of, [Planned(case) for case in cases])
    for outcome in measured(soft(), [1.0, 2.0]):
        store.add_outcome(id_, outcome)
    if extra:
        store.add_outcome(id_, failed(dense()))
    store.set_state(id_, "complete")


def going(store: Store, **asked: object) -> str:
    return ids(choose(held(store), {}, now=NOW, **asked))  # type: ignore[arg-type]


def ids(choice: Choice) -> str:
    return "".join(one.run.id[0] for one in choice.going)


def test_what_a_run_takes_is_counted(store: Store) -> None:
    of = {one.run.id[0]: one for one in held(store)}
    assert (of["b"].outcomes, of["b"].samples) == (3, 5 + 2 * 10)
    assert of["a"].outcomes == 4
    assert of["a"].bytes > of["b"].bytes > 100


def test_the_newest_of_each_grid_stay(store: Store) -> None:
    assert going(store, keep=1) == "abc"
    assert going(store, keep=2) == "ab"
    assert going(store, keep=9) == ""
    assert going(store, keep=0) == "abcde"


def test_old_ones_go(store: Store) -> None:
    assert going(store, older_than=70 * DAY) == "ae"
    assert going(store, older_than=91 * DAY) == ""


def test_with_both_only_what_neither_keeps_goes(store: Store) -> None:
    assert going(store, keep=1, older_than=45 * DAY) == "ab"
    assert going(store, keep=3, older_than=45 * DAY) == "a"


def test_a_grid_is_named_by_its_file_or_its_name(store: Store) -> None:
    assert [one.run.id[0] for one in of_grid(held(store), "own")] == ["e"]
    assert [one.run.id[0] for one in of_grid(held(store), "my/own.toml")] == ["e"]
    with pytest.raises(InputError, match="unknown grid 'quik'; did you mean quick"):
        of_grid(held(store), "quik")
    assert of_grid([], "quick") == []


def test_baselines_and_running_ones_stay(store: Store) -> None:
    store.set_state("b" * 12, "running")
    choice = choose(held(store), {"a" * 12: "main"}, now=NOW, keep=1)
    assert ids(choice) == "c"
    assert [(one.run.id[0], why.split(":")[0]) for one, why in choice.protected] == [
        ("a", "baseline main"),
        ("b", "running, or its program was killed"),
    ]
    assert ids(choose(held(store), {"a" * 12: "main"}, now=NOW, keep=1, force=True)) == "bc"


@pytest.mark.parametrize(("words", "seconds"), [("36h", 36 * 3600), ("90d", 90 * DAY), ("12W", 84 * DAY), ("0d", 0)])
def test_ages(words: str, seconds: float) -> None:
    assert parse_age(words) == seconds


@pytest.mark.parametrize("words", ["90", "d", "1.5d", "-1d", "3 months", "9999999d", ""])
def test_ages_that_are_none(words: str) -> None:
    with pytest.raises(InputError, match="hours, days or weeks, as in 36h, 90d or 12w"):
        parse_age(words)


def test_deleting_leaves_nothing_behind_and_nothing_else_out(store: Store, tmp_path: Path) -> None:
    store.delete_runs(["a" * 12, "b" * 12])
    assert [one.run.id[0] for one in held(store)] == ["c", "d", "e"]
    database = sqlite3.connect(tmp_path / "s.db")
    for table in ("plans", "outcomes", "observations"):
        left = {id_ for (id_,) in database.execute(f"SELECT DISTINCT run_id FROM {table}")}  # noqa: S608
        assert left == {"c" * 12, "d" * 12, "e" * 12}, table
    assert database.execute("SELECT id FROM cases").fetchall() == [(soft().id,)]
    assert not database.execute("SELECT name FROM sqlite_master WHERE name LIKE 'prune%'").fetchall()
    database.close()
    assert [outcome.repeat for outcome in store.outcomes("c" * 12)] == [0, 1, 2]


def test_the_database_itself_refuses_to_delete_a_baseline(store: Store) -> None:
    """Somebody may save a baseline between the choice and the deed: then nothing is deleted."""
    store.save_baseline("main", store.find("run-a"))
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.delete_runs(["b" * 12, "a" * 12])
    assert len(store.runs()) == 5


def test_shrinking_gives_the_room_back(store: Store, tmp_path: Path) -> None:
    store.start_run(run("big", id="f" * 12), [Planned(dense())])
    store.add_outcome("f" * 12, replace(inspected(dense()), detail="x" * 1_000_000))
    full = store.size()
    assert full == (tmp_path / "s.db").stat().st_size > 1_000_000
    store.delete_runs(["f" * 12])
    assert store.size() == full
    store.shrink()
    assert store.size() == (tmp_path / "s.db").stat().st_size < 200_000

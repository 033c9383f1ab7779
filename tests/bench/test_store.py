import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from recorded import CEILINGS, dense, failed, inspected, measured, run, soft, timed, write_many

from bench.errors import InputError, StoreError
from bench.records import Ceiling, Flag, Planned, Status
from bench.schema import check
from bench.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "s.db"), create=True)


def test_what_goes_in_comes_out(store: Store) -> None:
    cases = [soft(), dense()]
    store.start_run(run(), [Planned(case) for case in cases])
    outcomes = [
        inspected(cases[0], flags=[Flag("noisy", "spread 12%")]),
        timed(cases[0], 1, 0.25),
        failed(cases[1], Status.TIMEOUT, "not finished"),
    ]
    for outcome in outcomes:
        store.add_outcome("0123456789ab", outcome)
    found = store.outcomes("0123456789ab")
    assert [sorted(o.observations, key=lambda seen: seen.metric) for o in outcomes] == [
        list(o.observations) for o in found
    ]
    assert [replace(o, observations=()) for o in found] == [replace(o, observations=()) for o in outcomes]
    assert [p.case for p in store.plan("0123456789ab")] == cases
    kept = store.find("quick-1")
    assert kept.environment == run().environment
    assert kept.settings == run().settings
    assert kept.state == "running"
    assert kept.finished is None


def test_numbers_survive_to_the_last_bit(store: Store) -> None:
    case = soft()
    store.start_run(run(), [Planned(case)])
    seconds = 0.1 + 0.2 - 1e-17
    store.add_outcome(run().id, timed(case, 1, seconds))
    assert store.outcomes(run().id)[0].samples("latency")[0] == seconds


def test_a_skipped_case_has_its_outcome_from_the_start(store: Store) -> None:
    store.start_run(run(), [Planned(soft(), "this machine has no device cuda")])
    (outcome,) = store.outcomes(run().id)
    assert (outcome.status, outcome.detail) == (Status.SKIPPED, "this machine has no device cuda")


def test_measuring_a_repeat_again_replaces_it_whole(store: Store) -> None:
    case = soft()
    store.start_run(run(), [Planned(case)])
    store.add_outcome(run().id, timed(case, 1, 1.0))
    store.add_outcome(run().id, failed(case, repeat=1))
    (outcome,) = store.outcomes(run().id)
    assert outcome.status is Status.ERROR
    assert outcome.observations == ()


def test_an_outcome_is_there_whole_or_not_at_all(store: Store) -> None:
    case = soft()
    store.start_run(run(), [Planned(case)])
    broken = timed(case, 1, float("nan"))
    with pytest.raises(ValueError, match="Out of range float"):
        store.add_outcome(run().id, broken)
    assert store.outcomes(run().id) == []


def test_names_of_runs(store: Store) -> None:
    for number, id_ in ((1, "aaaa00000000"), (2, "aabb00000000")):
        store.start_run(run(f"quick-{number}", id=id_), [Planned(soft())])
    assert store.find("quick-2").id == "aabb00000000"
    assert store.find("aab").name == "quick-2"
    assert store.find("aabb00000000").name == "quick-2"
    assert store.find("latest").name in {"quick-1", "quick-2"}
    assert store.free_name("quick") == "quick-3"
    with pytest.raises(InputError, match=r"run aa is not|has no run aa \(newest: quick-1, quick-2"):
        store.find("aa")
    with pytest.raises(
        InputError, match=r"has no run slow \(newest: quick-1, quick-2; all: `softmoe-bench list runs`\)"
    ):
        store.find("slow")
    with pytest.raises(InputError, match="already has a run named quick-1: choose another --name"):
        store.start_run(run("quick-1", id="cccc00000000"), [Planned(soft())])


def test_a_prefix_that_fits_two_runs_names_both(store: Store) -> None:
    for number, id_ in ((1, "aaab00000000"), (2, "aaac00000000")):
        store.start_run(run(f"quick-{number}", id=id_), [Planned(soft())])
    with pytest.raises(InputError, match="run aaa is not unique: aaab00000000, aaac00000000"):
        store.find("aaa")


def test_an_empty_store_says_how_to_make_a_run(store: Store) -> None:
    with pytest.raises(InputError, match=r"has no run yet: make one with `softmoe-bench run --grid quick`"):
        store.find("latest")


def test_baselines(store: Store) -> None:
    store.start_run(run(), [Planned(soft())])
    store.start_run(run("quick-2", id="ba9876543210"), [Planned(soft())])
    store.save_baseline("main", store.find("quick-1"))
    assert store.find("baseline:main").name == "quick-1"
    store.save_baseline("main", store.find("quick-2"))
    assert [(b.name, b.run.name) for b in store.baselines()] == [("main", "quick-2")]
    store.delete_baseline("main")
    assert store.baselines() == []
    assert store.find("quick-2").name == "quick-2"
    with pytest.raises(InputError, match=r"has no baseline main \(it has none yet\); save one with"):
        store.find("baseline:main")


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "s.db")
    store = open_store(path, create=True)
    case = soft()
    for name, id_ in (("a", "aaaaaaaaaaaa"), ("b", "bbbbbbbbbbbb")):
        store.start_run(run(name, id=id_), [Planned(case)])
    context = get_context("spawn")
    writers = [context.Process(target=write_many, args=(path, id_)) for id_ in ("aaaaaaaaaaaa", "bbbbbbbbbbbb")]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert len(store.runs()) == 2
    assert [writer.exitcode for writer in writers] == [0, 0]
    for id_ in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
        outcomes = store.outcomes(id_)
        assert [o.repeat for o in outcomes] == list(range(40))
        assert all(len(o.samples("latency")) == 5 for o in outcomes)


def test_the_latest_run_is_the_one_begun_last_whatever_the_clock_said(store: Store) -> None:
    """The clock steps back between two runs."""
    for name, id_, started in (
        ("a", "cccccccccccc", 300.0),
        ("b", "bbbbbbbbbbbb", 100.0),
        ("c", "aaaaaaaaaaaa", 200.0),
    ):
        store.start_run(replace(run(name, id=id_), started=started), [Planned(soft())])
    assert [found.name for found in store.runs()] == ["a", "b", "c"]
    assert store.find("latest").name == "c"


def test_ceilings_belong_to_a_machine(store: Store) -> None:
    here, elsewhere = run().environment, run(cpu="Another CPU").environment
    store.keep_ceilings(here, CEILINGS)
    assert store.ceilings(here.fingerprint) == CEILINGS
    assert store.ceilings(elsewhere.fingerprint) == ()
    with sqlite3.connect(store.shown_as) as connection:
        (facts,) = connection.execute("SELECT DISTINCT comparable FROM ceilings").fetchone()
    connection.close()
    assert json.loads(facts) == here.comparable


def test_calibrating_a_device_again_replaces_all_of_it_and_nothing_else(store: Store) -> None:
    here = run().environment
    cuda = Ceiling("cuda", "bfloat16", "FLOP/s", (8e14,), "8192 x 8192 x 8192")
    store.keep_ceilings(here, [*CEILINGS, cuda])
    again = Ceiling("cpu", "float32", "FLOP/s", (2e11,), "512 x 512 x 512")
    store.keep_ceilings(here, [again])
    assert store.ceilings(here.fingerprint) == (again, cuda)


def test_a_ceiling_that_is_no_number_is_not_kept(store: Store) -> None:
    here = run().environment
    store.keep_ceilings(here, CEILINGS)
    with pytest.raises(ValueError, match="Out of range float"):
        store.keep_ceilings(here, [Ceiling("cpu", "float32", "FLOP/s", (float("inf"),))])
    assert store.ceilings(here.fingerprint) == CEILINGS


# what is not a store


def test_a_missing_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no\.db does not exist: make it with `softmoe-bench run`, or name another"):
        open_store(str(tmp_path / "no.db"))
    assert not (tmp_path / "no.db").exists()


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder: give the path of a file"):
        open_store(str(tmp_path), create=True)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"the folder .*nowhere does not exist"):
        open_store(str(tmp_path / "nowhere" / "s.db"), create=True)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_text("dear diary, " * 200)
    with pytest.raises(StoreError, match=r"s\.db: file is not a database"):
        open_store(str(path), create=True)
    assert path.read_text().startswith("dear diary")


def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    for look in (lambda: open_store(str(path), create=True), lambda: check(str(path))):
        with pytest.raises(StoreError, match=r"belongs to another program \(its tables: songs\)"):
            look()


def test_a_store_of_a_newer_version(store: Store, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    connection.close()
    with pytest.raises(StoreError, match="has form 99, this program writes form 3: use a newer softmoe-bench"):
        open_store(str(tmp_path / "s.db"))


def test_an_address_that_means_nothing() -> None:
    with pytest.raises(StoreError, match=r"store nosql://x: .*; give a path or a SQLAlchemy URL"):
        open_store("nosql://x")


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlalchemy.create_engine", _no_engine)
    with pytest.raises(StoreError) as caught:
        open_store("postgresql+psycopg://me:secret@localhost/x")
    assert "secret" not in str(caught.value)


def _no_engine(*_: object, **__: object) -> None:
    raise ModuleNotFoundError("No module named 'psycopg'")


def test_checking_writes_nothing(tmp_path: Path) -> None:
    check(str(tmp_path / "s.db"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    check(str(tmp_path / "empty.db"))
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_a_full_disk_is_one_line_and_leaves_the_store_intact(tmp_path: Path) -> None:
    """A limit on the file's size stands in for the full disk: writing fails the same way."""
    path = tmp_path / "s.db"
    store = open_store(str(path), create=True)
    case = soft()
    store.start_run(run(), [Planned(case)])
    for outcome in measured(case, [1.0, 1.0]):
        store.add_outcome(run().id, outcome)
    store.close()
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from recorded import soft, timed, run\n"
        "from bench.errors import StoreError\n"
        "from bench.store import open_store\n"
        f"store = open_store({str(path)!r})\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({path.stat().st_size}, {path.stat().st_size}))\n"
        "try:\n"
        "    for repeat in range(3, 60):\n"
        "        store.add_outcome(run().id, timed(soft(), repeat, 1.0, count=500))\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "disk I/O error" in done.stdout or "disk is full" in done.stdout, done
    kept = open_store(str(path)).outcomes(run().id)
    assert [o.repeat for o in kept][:3] == [0, 1, 2]
    assert all(len(o.samples("latency")) in (5, 500) for o in kept[1:])


@pytest.mark.skipif(sys.platform != "linux", reason="permissions of root are special elsewhere")
def test_a_read_only_store_is_refused_before_anything_is_measured(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(StoreError, match=r"s\.db cannot be written: no permission"):
        check(str(tmp_path / "s.db"))
    with pytest.raises(StoreError, match=r"t\.db cannot be made: no permission to write in"):
        check(str(tmp_path / "t.db"))

"""Files in and out of a store as a user meets them: nothing twice, nothing overwritten unasked, nothing silent."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from recorded import dense, failed, measured, run, soft

from bench import results
from bench.cli import group
from bench.errors import BenchError
from bench.records import Planned
from bench.store import Store, open_store


@pytest.fixture(autouse=True)
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store with a run, which is the baseline main, and a slower one."""
    monkeypatch.chdir(tmp_path)
    store = open_store(create=True)
    for name, id_, seconds in (("quick-1", "a" * 12, 1e-3), ("quick-2", "b" * 12, 1.5e-3)):
        add(store, name, id_, seconds)
    store.save_baseline("main", store.find("quick-1"))
    store.close()


def add(store: Store, name: str, id_: str, seconds: float) -> None:
    store.start_run(run(name, id=id_), [Planned(soft()), Planned(dense())])
    for outcome in [*measured(soft(), [seconds, 1.01 * seconds, 0.99 * seconds]), failed(dense())]:
        store.add_outcome(id_, outcome)
    store.set_state(id_, "complete")


def invoke(*words: str) -> Result:
    result = CliRunner().invoke(group, list(words))
    assert result.exception is None or isinstance(result.exception, BenchError | SystemExit), result.exception
    return result


def complaint(*words: str) -> str:
    result = invoke(*words)
    assert isinstance(result.exception, BenchError), result.output
    assert result.exception.exit_code == 2
    return str(result.exception)


def runs(store: str = "softmoe-bench.db") -> list[tuple[str, str]]:
    opened = open_store(store)
    found = [(run.name, run.id[0]) for run in opened.runs()]
    opened.close()
    return found


# baselines


def test_a_baseline_travels_in_a_file() -> None:
    done = invoke("baseline", "export", "main", "-o", "main.json")
    assert "main.json: baseline main, run quick-1, 2 cases, " in done.output
    done = invoke("baseline", "import", "main.json", "--store", "new.db")
    assert done.output == "baseline main: run quick-1 (aaaaaaaaaaaa), 2 cases\n"
    assert "soft/fused" in invoke("show", "baseline:main", "--store", "new.db").output
    assert invoke("report", "baseline:main", "-o", "out.html", "--store", "new.db").exit_code == 0
    invoke("baseline", "export", "main", "-o", "again.json", "--store", "new.db")
    assert Path("again.json").read_text() == Path("main.json").read_text()


def test_what_is_measured_can_be_compared_with_a_file() -> None:
    invoke("baseline", "export", "main", "-o", "main.json")
    store = open_store("new.db", create=True)
    add(store, "quick-1", "c" * 12, 1.5e-3)
    store.close()
    invoke("baseline", "import", "main.json", "--store", "new.db")
    assert runs("new.db") == [("quick-1-aaaa", "a"), ("quick-1", "c")], "latest is what was measured here"
    done = invoke("compare", "baseline:main", "latest", "--store", "new.db")
    assert "slower" in done.output
    assert "1.50" in done.output


def test_importing_twice_changes_nothing() -> None:
    invoke("baseline", "export", "main", "-o", "main.json")
    for words in (["baseline", "import", "main.json"], ["import", "main.json"]):
        assert (
            "run quick-1 (aaaaaaaaaaaa), 2 cases: already there" in invoke(*words, "--store", "softmoe-bench.db").output
        )
    for _ in range(2):
        done = invoke("import", "main.json", "--store", "new.db")
    assert "already there" in done.output
    opened = open_store()
    assert opened.outcomes("a" * 12)[1].samples("latency") == (1e-3,) * 5, "the samples of the original are still there"
    opened.close()


def test_a_file_may_get_another_name() -> None:
    invoke("baseline", "export", "main", "-o", "main.json")
    assert invoke("baseline", "import", "main.json", "--name", "nightly").exit_code == 0
    assert "nightly  run quick-1" in invoke("baseline", "list").output
    assert "give a plain word" in complaint("baseline", "import", "main.json", "--name", "baseline:x")
    assert "give a plain word" in complaint("baseline", "import", "main.json", "--name", "")


def test_a_name_that_stands_for_another_run_is_kept_unless_told() -> None:
    invoke("baseline", "save", "main", "quick-2")
    invoke("baseline", "export", "main", "-o", "main.json")
    invoke("baseline", "save", "main", "quick-1")
    said = complaint("baseline", "import", "main.json")
    assert "baseline main stands for run quick-1 (aaaaaaaaaaaa), and the file is of run bbbbbbbbbbbb" in said
    assert "--replace" in said
    assert "main  run quick-1" in invoke("baseline", "list").output
    assert invoke("baseline", "import", "main.json", "--replace").exit_code == 0
    assert "main  run quick-2" in invoke("baseline", "list").output


def test_other_figures_of_a_run_are_kept_unless_told() -> None:
    invoke("baseline", "export", "main", "-o", "main.json")
    Path("main.json").write_text(Path("main.json").read_text().replace('"latency": [0.001,', '"latency": [0.002,'))
    assert "has run quick-1 (aaaaaaaaaaaa) with other figures than the file" in complaint("import", "main.json")
    assert invoke("import", "main.json", "--replace").exit_code == 0
    opened = open_store()
    found = results.load(opened, opened.find("baseline:main"))
    opened.close()
    assert found.cases[1].figures["latency"].by_repeat[1] == 0.002
    assert [name for name, _ in runs()] == ["quick-1", "quick-2"]


def test_a_file_that_is_none_leaves_no_store_behind() -> None:
    invoke("baseline", "export", "main", "-o", "main.json")
    Path("other.json").write_text('{"benchmark": 1}')
    Path("not.json").write_bytes(b"\xff\xfe")
    for words, said in (
        (["import", "other.json"], "neither a baseline of softmoe-bench nor pytest-benchmark's JSON"),
        (["import", "missing.json"], "missing.json cannot be read: No such file"),
        (["import", "not.json"], "not.json is no text in UTF-8"),
        (["import", "main.json", "--name", " "], "baseline name ' ': give a plain word"),
        (["baseline", "import", "other.json"], "other.json: no baseline of softmoe-bench"),
    ):
        assert said in complaint(*words, "--store", "new.db")
        assert not Path("new.db").exists()


def test_an_unknown_baseline_is_not_exported() -> None:
    assert "no baseline mian" in complaint("baseline", "export", "mian", "-o", "x.json")
    assert "the folder" in complaint("baseline", "export", "main", "-o", "no/x.json")
    assert not Path("x.json").exists()


def test_no_baseline_at_all_is_no_mistake_but_a_wrong_name_is() -> None:
    opened = open_store()
    found = opened.find_baseline("main")
    assert found is not None
    assert found.name == "quick-1"
    with pytest.raises(BenchError, match="unknown baseline 'mian'; did you mean main"):
        opened.find_baseline("mian")
    opened.delete_baseline("main")
    assert opened.find_baseline("main") is None
    opened.close()


# other programs


@pytest.mark.parametrize("form", ["pytest-benchmark", "github-action-benchmark", "bencher"])
def test_other_forms_hold_one_run(form: str) -> None:
    done = invoke("export", "quick-1", "-o", "out.json", "--format", form)
    assert done.stdout == "out.json: run quick-1, 1 of 2 cases\n"
    assert f"1 without a latency, which {form} cannot show" in done.stderr
    assert json.loads(Path("out.json").read_text())
    assert "such a file holds one run, got 2" in complaint("export", "quick-1", "quick-2", "-o", "x", "--format", form)
    assert "--summary is for the tables" in complaint("export", "quick-1", "--summary", "-o", "x", "--format", form)
    assert not Path("x").exists()


def test_a_run_comes_back_from_the_form_of_pytest_benchmark() -> None:
    invoke("export", "quick-2", "-o", "out.json", "--format", "pytest-benchmark")
    assert "already there" in invoke("import", "out.json").output
    done = invoke("import", "out.json", "--store", "new.db", "--name", "theirs")
    assert done.output == "run theirs (bbbbbbbbbbbb), 2 cases\n"
    ours, theirs = open_store(), open_store("new.db")
    for before, after in zip(ours.outcomes("b" * 12), theirs.outcomes("b" * 12), strict=True):
        assert before == after
    for opened in (ours, theirs):
        opened.close()


def test_a_name_is_for_one_run() -> None:
    for name in ("quick-1", "quick-2"):
        invoke("export", name, "-o", f"{name}.json", "--format", "pytest-benchmark")
    said = complaint("import", "quick-1.json", "quick-2.json", "--name", "x", "--store", "new.db")
    assert "the files hold 2 runs" in said
    assert invoke("import", "quick-1.json", "quick-2.json", "--store", "new.db").output.count("run quick-") == 2


def test_sessions_of_pytest_become_one_run() -> None:
    for number in (1, 2, 3):
        tests = [
            {"fullname": "t.py::test_soft", "extra_info": {"case": soft().id, "axes": dict(soft())}},
            {"fullname": "t.py::test_sum", "extra_info": {}},
        ]
        content = {
            "machine_info": {"softmoe_bench": {"cpu": "Test CPU"}},
            "benchmarks": [test | {"stats": {"data": [number * 1e-3]}} for test in tests],
            "datetime": "2026-11-26T19:45:13+00:00",
        }
        Path(f"{number}.json").write_text(json.dumps(content))
    words = ["import", "1.json", "2.json", "3.json", "--store", "new.db"]
    done = invoke(*words, "--name", "mine")
    assert done.stdout.startswith("run mine (")
    assert done.stderr == "left out, as they measured no case of ours: t.py::test_sum\n"
    assert "already there" in invoke(*words).stdout
    (case,) = json.loads(invoke("show", "mine", "--store", "new.db", "--json").output)["cases"]
    assert case["figures"]["latency"]["processes"] == 3

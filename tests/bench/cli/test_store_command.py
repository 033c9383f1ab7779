"""`store info` and `store prune` as a user meets them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from recorded import measured, run, soft

from bench.cli import group
from bench.errors import InputError
from bench.records import Planned
from bench.store import open_store


@pytest.fixture(autouse=True)
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runs, the first of which is a baseline."""
    monkeypatch.chdir(tmp_path)
    store = open_store(create=True)
    for number, id_ in enumerate(("a" * 12, "b" * 12, "c" * 12), 1):
        store.start_run(replace(run(f"quick-{number}", id=id_), started=1e9 + number), [Planned(soft())])
        for outcome in measured(soft(), [1.0, 2.0]):
            store.add_outcome(id_, outcome)
        store.set_state(id_, "complete")
    store.save_baseline("main", store.find("quick-1"))
    store.close()


def names() -> list[str]:
    store = open_store()
    found = [run.name for run in store.runs()]
    store.close()
    return found


def invoke(*words: str) -> Result:
    return CliRunner().invoke(group, list(words))


def test_info() -> None:
    result = invoke("store", "info")
    assert "KiB, 3 runs" in result.output
    assert "9 outcomes, 75 samples" in result.output
    assert "quick-2 (bbbbbbbbbbbb), 2001-09-09, grid quick: 3 outcomes, 25 samples" in result.output
    assert "baseline main: run quick-1 (aaaaaaaaaaaa)" in result.output
    answer = json.loads(invoke("store", "info", "--json").output)
    assert (answer["runs"], answer["samples"], answer["baselines"]) == (3, 75, {"main": "a" * 12})
    assert answer["bytes"] == Path("softmoe-bench.db").stat().st_size


def test_prune_says_what_goes_and_what_stays() -> None:
    result = invoke("store", "prune", "--older-than", "90d", "--keep", "1")
    assert result.exit_code == 0
    assert "deleted quick-2 (bbbbbbbbbbbb)" in result.stdout
    assert "1 run deleted: " in result.stdout
    assert "kept quick-1 (aaaaaaaaaaaa): baseline main" in result.stderr
    assert names() == ["quick-1", "quick-3"]


def test_a_dry_run_deletes_nothing() -> None:
    result = invoke("store", "prune", "--keep", "0", "--dry-run")
    assert "would delete quick-2" in result.stdout
    assert "2 runs of" in result.stdout
    assert len(names()) == 3
    answer = json.loads(invoke("store", "prune", "--keep", "0", "--dry-run", "--json").output)
    assert [one["run"] for one in answer["deleted"]] == ["quick-2", "quick-3"]
    assert answer["kept"] == ["a" * 12]


def test_without_a_rule_nothing_goes() -> None:
    result = invoke("store", "prune", "--grid", "quick")
    assert isinstance(result.exception, InputError)
    assert "--keep N" in str(result.exception)
    assert "--older-than 90d" in str(result.exception)
    assert len(names()) == 3

"""`softmoe-bench history` as a user meets it, over runs of exact figures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from recorded import measured, run, soft

from bench.cli import group
from bench.cli.bars import HEIGHTS
from bench.errors import BenchError
from bench.records import Environment, Planned
from bench.store import open_store

SMALL, LARGE = soft(), soft(batch_size=64)
RUNS = 12

pytestmark = pytest.mark.usefixtures("stored")


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve runs: one case becomes slower by a fifth in the eighth of them, the other stays as it is."""
    monkeypatch.chdir(tmp_path)
    store = open_store(create=True)
    for number in range(1, RUNS + 1):
        git = {"git": {"commit": f"{number:x}" * 40, "branch": "main", "dirty": False}}
        made = run(f"quick-{number}", id=f"{number:012x}")
        made = replace(made, environment=Environment(made.environment.comparable, git))
        store.start_run(made, [Planned(SMALL), Planned(LARGE)])
        wobble = 1 + 0.002 * (number % 3)
        for case, seconds in ((SMALL, 1.0 if number < 8 else 1.2), (LARGE, 3.0)):
            for outcome in measured(case, [seconds * wobble] * 3):
                store.add_outcome(made.id, outcome)
        store.set_state(made.id, "complete")
    store.close()
    return tmp_path


def invoke(*words: str) -> Result:
    result = CliRunner().invoke(group, ["history", *words], standalone_mode=False)
    assert result.exception is None or isinstance(result.exception, BenchError), result.exception
    return result


def test_a_row_per_case_the_changed_one_first_and_the_change_in_words() -> None:
    result = invoke("quick")
    assert not result.return_value, "a history is no gate"
    rows = [line for line in result.stdout.splitlines() if any(block in line for block in HEIGHTS)]
    assert [SMALL.id[:6] in rows[0], LARGE.id[:6] in rows[1]] == [True, True]
    assert rows[0].split()[-5:] == ["1000×", "1200×", "+20", "%", "▁▁▁▁▁▁▁█████"]
    assert rows[1].split()[-3:-1] == ["0", "%"]
    assert (
        "between run quick-7 (commit 7777777) and run quick-8 (commit 8888888): +20 % (20 % to 20 %) (worse)"
        in result.stdout
    )
    assert "12 runs, quick-1 to quick-12: 1 change of level of 5 % or more in 1 of 2 cases" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines() if "between run" not in line) <= 100


def test_json_has_every_point_and_change() -> None:
    answer = json.loads(invoke("all", "--json", "--last", "10").stdout)
    assert [made["name"] for made in answer["runs"]] == [f"quick-{i}" for i in range(3, 13)]
    assert answer["runs"][0]["commit"] == "3" * 40
    changed, same = answer["cases"]
    assert (changed["case"], same["case"]) == (SMALL.id, LARGE.id)
    (change,) = changed["changes"]
    assert (change["before"], change["after"], change["commit_after"]) == ("quick-7", "quick-8", "8" * 40)
    assert change["ratio"] == pytest.approx(1.2, rel=0.01)
    assert len(same["points"]) == 10
    assert set(same["points"][0]) == {"run", "value", "low", "high", "processes"}
    assert same["changes"] == []


def test_few_runs_are_told() -> None:
    assert "change points need at least 8 runs, this has 5 (2 of 2 cases)" in invoke("quick", "--last", "5").stdout


def test_a_report_has_the_history_after_the_summary_of_the_newest_run(stored: Path) -> None:
    result = invoke(SMALL.id, "--report", "out.html")
    assert "report: out.html" in result.stderr
    page = (stored / "out.html").read_text()
    assert page.index('id="summary"') < page.index('<section id="history"') < page.index('<section id="figures"')
    assert page.count('<section id="history"') == 1
    assert "quick-12 – softmoe-bench" in page
    assert "+20 % at 8888888" in page


def test_a_report_in_markdown_has_the_history_too(stored: Path) -> None:
    invoke(SMALL.id, "--report", "out.md")
    text = (stored / "out.md").read_text()
    assert "<section" not in text
    assert "## History" in text
    assert "Between run quick-7 (commit 7777777) and run quick-8 (commit 8888888): +20" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["quikc"], "did you mean quick?"),
        (["quick", "--metric", "latncy"], "did you mean latency?"),
        (["quick", "--report", "nowhere/out.html"], "does not exist"),
        (["quick", "--report", "out.pdf"], "the ending says no format"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(words: list[str], says: str) -> None:
    result = invoke(*words)
    assert isinstance(result.exception, BenchError)
    assert result.exception.exit_code == 2
    assert says in str(result.exception)
    assert result.stdout == ""

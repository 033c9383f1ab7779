"""`softmoe-bench report` as a user meets it, over stored runs of exact figures."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from recorded import dense, failed, measured, run, soft

from bench import results
from bench.cli import group, main, run_table
from bench.errors import BenchError
from bench.records import Flag, Planned
from bench.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "x:[red]</script><img src=x onerror=alert(1)>\x1b[31m\u202e\n\x07" + "x" * 10_000

pytestmark = pytest.mark.usefixtures("stored")


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, the newer on another machine, and a baseline that stands for the older."""
    monkeypatch.chdir(tmp_path)
    store = open_store(create=True)
    for number, facts in ((1, {}), (2, {"cpu": "Other CPU"})):
        made = run(f"quick-{number}", id=f"{number:012x}", **facts)
        store.keep_run(made, [Planned(soft()), Planned(dense())], measured(soft(), [1.0 * number, 1.01, 1.02]))
    store.save_baseline("main", store.find("quick-1"))
    store.close()
    return tmp_path


def invoke(*words: str) -> Result:
    result = CliRunner().invoke(group, list(words), standalone_mode=False)
    assert result.exception is None or isinstance(result.exception, BenchError), result.exception
    return result


def fails(*words: str) -> str:
    result = invoke(*words)
    assert isinstance(result.exception, BenchError)
    assert result.exception.exit_code == 2
    return str(result.exception)


@pytest.mark.parametrize(
    ("words", "file", "begins"),
    [
        ([], "report.html", "<!DOCTYPE html>"),
        (["--format", "markdown"], "report.md", "# Is it fast?"),
        (["-o", "x.md"], "x.md", "# Is it fast?"),
        (["-o", "x.HTM"], "x.HTM", "<!DOCTYPE html>"),
        (["-o", "x.txt", "--format", "markdown"], "x.txt", "# Is it fast?"),
    ],
)
def test_the_format_follows_from_the_file_or_the_file_from_the_format(
    words: list[str], file: str, begins: str, stored: Path
) -> None:
    assert invoke("report", *words).stdout == f"{file}\n"
    assert (stored / file).read_text(encoding="utf-8").startswith(begins)
    assert {path.name for path in stored.iterdir()} == {"softmoe-bench.db", file}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-o", "x.md", "--format", "html"], "report x.md: the ending says markdown, --format says html: give one"),
        (["-o", "x.pdf"], "report x.pdf: the ending says no format; use --format html | markdown"),
        (["-o", "x"], "the ending says no format"),
        (["--assets", "softmoe-bench.db"], "assets softmoe-bench.db is a file: give the path of a folder"),
        (["--assets", "nowhere/x"], "nowhere does not exist"),
        (["--index", "--format", "markdown"], "leave out --format markdown and --assets"),
        (["--index", "--assets", "x"], "leave out --format markdown and --assets"),
        (["--index", "-o", "x.md"], "the ending says markdown"),
        (["--index", "-o", "softmoe-bench.db"], "is a file: give the path of a folder"),
        (["--index", "-o", "nowhere/site"], "nowhere does not exist"),
        (["nobody"], "has no run nobody"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(words: list[str], says: str, stored: Path) -> None:
    assert says in fails("report", *words)
    assert [path.name for path in stored.iterdir()] == ["softmoe-bench.db"]


def test_a_refusal_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["softmoe-bench", "report", "-o", "x.md", "--format", "html"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_charts_lie_in_their_folder_and_markdown_links_to_them(stored: Path) -> None:
    (stored / "docs").mkdir()
    result = invoke("report", "latest", "-o", "docs/report.md", "--assets", "charts")
    written = {path.name for path in (stored / "charts").iterdir()}
    assert {"summary-latency-0.svg", "summary-latency-0.png", "rows.csv", "summary.csv"} <= written
    charts = sum(name.endswith(".svg") for name in written)
    assert result.stdout == f"docs/report.md\ncharts: {charts} charts as SVG and PNG, rows.csv, summary.csv\n"
    text = (stored / "docs" / "report.md").read_text(encoding="utf-8")
    assert "](../charts/summary-latency-0.png)](../charts/summary-latency-0.svg)" in text


def test_runs_named_twice_are_shown_once_and_two_machines_side_by_side(stored: Path) -> None:
    invoke("report", "quick-1", "baseline:main", "quick-2", "-o", "x.md")
    text = (stored / "x.md").read_text(encoding="utf-8")
    assert text.count("\nquick-1 · ") == 1
    assert "## Devices" in text


def test_the_index_is_a_folder_that_can_be_published(stored: Path) -> None:
    result = invoke("report", "--index", "-o", "site")
    assert result.stdout == "site/index.html\n"
    assert "2 runs, 2 reports written, 0 unchanged" in result.stderr
    files = sorted(path.relative_to(stored / "site").as_posix() for path in (stored / "site").rglob("*.html"))
    assert files == [f"index-runs/{1:012x}.html", f"index-runs/{2:012x}.html", "index.html"]
    text = (stored / "site" / "index.html").read_text(encoding="utf-8")
    assert text.index(">quick-2<") < text.index(">quick-1<")
    assert "<td>main</td>" in text
    again = invoke("report", "--index", "-o", "site")
    assert "2 runs, 0 reports written, 2 unchanged" in again.stderr
    assert (stored / "site" / "index.html").read_text(encoding="utf-8") == text


def test_an_index_may_be_of_some_runs(stored: Path) -> None:
    invoke("report", "--index", "quick-1", "-o", "some.html")
    assert [path.name for path in (stored / "some-runs").iterdir()] == [f"{1:012x}.html"]
    assert "quick-2" not in (stored / "some.html").read_text(encoding="utf-8")


def test_somebody_elses_index_is_not_replaced_unless_it_is_named(stored: Path) -> None:
    (stored / "index.html").write_text("<h1>My homepage</h1>")
    assert "index index.html is there and not ours" in fails("report", "--index")
    assert "is there and not ours" in fails("report", "--index", "-o", ".")
    assert (stored / "index.html").read_text() == "<h1>My homepage</h1>"
    assert not (stored / "index-runs").exists()
    assert invoke("report", "--index", "-o", "index.html").exception is None


def test_the_terminal_shows_hostile_names_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    case, other = soft().with_axes(layer=HOSTILE), soft(num_experts=16).with_axes(layer=HOSTILE, input=HOSTILE)
    outcomes = [*measured(case, [1.0, 1.1, 1.2]), failed(other, detail=HOSTILE)]
    outcomes[0] = type(outcomes[0])(**{**vars(outcomes[0]), "flags": (Flag("from_a_newer_version"),)})
    run_table.show(results.of_outcomes(run(HOSTILE), [Planned(case), Planned(other)], outcomes))
    shown = capsys.readouterr().out
    assert not {"\x1b", "\u202e", "\x07", "\r"} & set(shown)
    assert "x:[red]</script><img src=x" in shown
    assert len(shown) < 6000
    assert max(map(len, shown.splitlines())) <= 100

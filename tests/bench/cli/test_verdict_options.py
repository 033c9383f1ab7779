"""The options that `compare` and `duel` share, on a command that measures nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner, Result
from compared import case, compared, mixed

from bench import formats
from bench.cli.verdict_options import FORMATS, TERMINAL, Delivery, deliver, verdict_options
from bench.errors import Exit, InputError
from bench.formats import markdown
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from bench.verdicts import Comparisons

SAME = compared([case("fine", Verdict.SAME, 1.0)])


def command(found: Comparisons, measured: list[str] | None = None) -> click.Command:
    @click.command()
    @click.option("--grid", default="quick")
    @verdict_options
    def judge(grid: str, delivery: Delivery) -> int:
        (measured if measured is not None else []).append(grid)
        return deliver(found, delivery, command=f"judge --grid {grid}")

    return judge


def run(found: Comparisons, *words: str) -> Result:
    return CliRunner().invoke(command(found), words, standalone_mode=False)


def test_every_format_of_the_table_can_be_asked_for() -> None:
    assert list(formats.TABLE) == [form for form in FORMATS if form != TERMINAL]


@pytest.mark.parametrize(
    ("words", "code"),
    [((), Exit.WORSE), (("--fail-on", "missing"), Exit.INCOMPLETE), (("--fail-on", "none"), Exit.OK)],
)
def test_the_exit_code_is_that_of_the_gate_and_stderr_says_why(words: tuple[str, ...], code: Exit) -> None:
    result = run(mixed(), *words)
    assert result.return_value is code
    assert result.stderr.startswith("fails: ") == bool(code)
    assert "2 of 14 cases are slower" in result.stdout


@pytest.mark.parametrize("words", [("--json",), ("--format", "json"), ("--json", "--format", "json")])
def test_json_is_the_short_form(words: tuple[str, ...]) -> None:
    assert json.loads(run(mixed(), *words).stdout)["schema"] == 1


def test_one_measurement_several_answers(tmp_path: Path) -> None:
    files = {form: tmp_path / f"answer.{form}" for form in FORMATS}
    result = run(mixed(), "-o", str(files[TERMINAL]), *(f"--also={form}={files[form]}" for form in formats.TABLE))
    assert result.stdout == ""
    assert files[TERMINAL].read_text().split("\n")[1].split()[:3] == ["case", "base", "candidate"]
    assert files["markdown"].read_text().startswith(markdown.MARKER)
    assert "Reproduce: `judge --grid quick`" in files["markdown"].read_text()
    assert files["junit"].read_text().startswith("<?xml")
    assert sorted(tmp_path.iterdir()) == sorted(files.values())


@pytest.mark.parametrize("form", ["table", "markdown", "github"])
def test_silent_where_nothing_changed(form: str, tmp_path: Path) -> None:
    old = tmp_path / "comment.md"
    old.write_text("it was slower")
    result = run(SAME, "--format", form, "--quiet-if-unchanged", "--also", f"markdown={old}")
    assert (result.output, result.return_value) == ("", Exit.OK)
    assert old.read_text() == ""


def test_the_link_to_the_report_is_named() -> None:
    result = run(mixed(), "--format", "markdown", "--report-link", "https://ci.example/r")
    assert "[Report](https://ci.example/r)" in result.stdout


def test_a_report_without_an_address_is_named_by_its_path(tmp_path: Path) -> None:
    answer = tmp_path / "answer.md"
    assert deliver(SAME, Delivery("markdown", answer), report=Path("out/report.html")) is Exit.OK
    assert "Report: `out/report.html`" in answer.read_text()


def test_the_summary_of_a_github_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    run(mixed(), "--format", "markdown")
    assert not (tmp_path / "summary.md").exists()
    assert run(mixed(), "--format", "github").stdout.startswith("::error title=soft/fused experts=32::slower")
    assert (tmp_path / "summary.md").read_text().startswith(markdown.MARKER)


def test_a_summary_that_cannot_be_written_changes_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none" / "summary.md"))
    result = run(SAME, "--format", "github")
    assert result.return_value is Exit.OK
    assert "no summary of the job" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--json", "--format", "junit"), "--json and --format junit ask for two formats: give one"),
        (("--fail-on", "slwer"), "unknown word 'slwer'; did you mean slower?"),
        (("--also", "comment.md"), "--also comment.md: write FORMAT=FILE as in markdown=comment.md"),
        (("--also", "markdwn=c.md"), "unknown format 'markdwn'; did you mean markdown?"),
        (("-o", "nowhere/x"), "output nowhere/x: the folder"),
        (("--also", "json=nowhere/x"), "output nowhere/x: the folder"),
        (("-o", "x", "--also", "json=x"), "give each its own file"),
    ],
)
def test_mistakes_are_found_before_anything_is_measured(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    measured: list[str] = []
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(command(SAME, measured), words, standalone_mode=False, catch_exceptions=False)
    assert message in str(caught.value)
    assert measured == list(tmp_path.iterdir()) == []

"""`softmoe-bench claims`: the table, the answer for programs, exit codes, and what is kept in the store."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from bench import claims
from bench.cli import group
from bench.errors import BenchError, Exit

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

COSTS = ("claims", "--fast", "--only", "training-costs")


def invoke(*words: str) -> Result:
    return CliRunner().invoke(group, list(words), standalone_mode=False)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTMOE_BENCH_STORE", raising=False)
    return tmp_path


def test_the_list_has_every_claim_with_its_source(folder: Path) -> None:
    text = " ".join(invoke("claims", "--list").output.split())
    listed = json.loads(invoke("claims", "--list", "--json").output)
    assert [each["name"] for each in listed] == list(claims.TABLE)
    for claim in claims.TABLE.values():
        assert claim.name in text
        assert f"Source: {claim.source}." in text
    assert not list(folder.iterdir())


def test_one_claim_is_measured_kept_shown_again_and_reported(folder: Path) -> None:
    result = invoke("claims", "--fast", "--only", "model-costs", "--only", "training-costs", "--report", "out.html")
    assert result.return_value == Exit.OK, result.output
    assert "reproduced" in result.output
    assert "arXiv:2308.00951v2, Table 8" in result.output
    again = invoke("show")
    assert again.output.split()[:40] == result.output[result.output.index(" claim") :].split()[:40]
    page = (folder / "out.html").read_text()
    assert "Do the papers&#39; claims hold here?" in page
    assert "2 of 2 claims reproduced on this machine." in page
    assert 'href="#claim-model-costs"' in page
    assert '<h3 id="claim-model-costs">' in page
    invoke("export", "latest", "-o", "rows.json")
    rows = json.loads((folder / "rows.json").read_text())
    assert {row["metric"] for row in rows} >= {"parameters_built", "flops_built"}
    assert {row["study"] for row in rows} == {"model"}


def test_programs_get_figures_in_base_units() -> None:
    answer = json.loads(invoke(*COSTS, "--json").stdout)
    assert answer["run"] == "claims-1"
    [claim] = answer["claims"]
    assert (claim["verdict"], claim["expected"]) == ("reproduced", "reproduced")
    assert claim["figures"][0]["paper"] == 227.1e18
    assert claim["figures"][0]["ours"]["value"] == pytest.approx(227.1e18, rel=0.01)


def test_a_claim_that_held_and_does_not_any_more_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    known = claims.TABLE["training-costs"]

    def fails(_measured: object) -> Any:  # noqa: ANN401
        return claims.claim.Finding(claims.Verdict.NOT_REPRODUCED, "No.")

    monkeypatch.setitem(claims.TABLE, known.name, replace(known, judge=fails))
    result = invoke(*COSTS)
    assert result.return_value == Exit.WORSE
    assert "No longer reproduced: training-costs." in result.output
    never = replace(known, judge=fails, expected=claims.Verdict.NOT_REPRODUCED)
    monkeypatch.setitem(claims.TABLE, known.name, never)
    assert invoke(*COSTS).return_value == Exit.OK


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--only", "model-cost"), "unknown claim 'model-cost'; did you mean model-costs?"),
        (("--list", "--fast"), "claims --list measures nothing"),
        (("--fast", "--report", "out.pdf"), "the ending says no format"),
        (("--fast", "--store", "nowhere/s.db"), "nowhere"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(folder: Path, words: tuple[str, ...], says: str) -> None:
    result = invoke("claims", *words)
    assert isinstance(result.exception, BenchError), result.output
    assert result.exception.exit_code == Exit.BAD_INPUT
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not list(folder.iterdir())

"""The table of a run: 100 columns, spent on what tells cases apart."""

import pytest
from recorded import dense, measured, results, soft

from bench.cli import terminal


def header(text: str) -> str:
    return next(line for line in text.splitlines() if "latency" in line)


def test_an_axis_that_is_constant_in_every_layer_takes_no_column(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [dense(), dense(batch_size=2), soft(), soft(batch_size=2)]
    outcomes = [outcome for case in cases for outcome in measured(case, [1.0])]
    terminal.show_run(results(outcomes, cases))
    assert header(capsys.readouterr().out).split()[:3] == ["layer", "batch", "latency"]


def test_an_axis_that_varies_within_a_layer_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [dense(), soft(), soft(num_experts=16)]
    outcomes = [outcome for case in cases for outcome in measured(case, [1.0])]
    terminal.show_run(results(outcomes, cases))
    assert header(capsys.readouterr().out).split()[:3] == ["layer", "experts", "latency"]


def test_work_that_differs_between_layers_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [dense(seq_len=16), soft()]
    outcomes = [outcome for case in cases for outcome in measured(case, [1.0])]
    terminal.show_run(results(outcomes, cases))
    assert header(capsys.readouterr().out).split()[:3] == ["layer", "seq_len", "latency"]

"""The table of a run: a bar per case, 100 columns or what the terminal has, spent on what tells cases apart."""

import io
from collections.abc import Sequence

import pytest
from recorded import dense, failed, inspected, measured, results, soft, timed
from rich.console import Console

from bench import plan
from bench.cli import run_table, terminal
from bench.records import Case, Flag, Status
from bench.results import RunResults


def ran(cases: Sequence[Case], seconds: Sequence[float]) -> RunResults:
    """A run in which each case took so long."""
    outcomes = [o for case, one in zip(cases, seconds, strict=True) for o in measured(case, [one, one, one])]
    return results(outcomes, cases)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> "Shown":
    return Shown(monkeypatch)


class Shown:
    """Prints a run for a terminal of some width and encoding."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __call__(self, found: RunResults, *, width: int = 100, encoding: str = "utf-8") -> str:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding, errors="softmoe-bench", write_through=True)
        self._patch.setattr(terminal, "console", lambda: Console(file=stream, highlight=False, width=width))
        run_table.show(found)
        return raw.getvalue().decode(encoding)


def titles(text: str) -> list[str]:
    return next(line for line in text.splitlines() if "latency" in line).split()


def row(text: str, *words: str) -> str:
    return next(line for line in text.splitlines() if all(word in line for word in words))


def test_an_axis_that_is_constant_in_every_layer_takes_no_column(shown: Shown) -> None:
    cases = [dense(), dense(d_ff=64), soft(), soft(d_ff=64)]
    assert titles(shown(ran(cases, [1.0] * 4)))[:2] == ["layer", "latency"]


def test_an_axis_that_varies_within_a_layer_has_one(shown: Shown) -> None:
    cases = [dense(), soft(), soft(num_experts=16)]
    assert titles(shown(ran(cases, [1.0] * 3)))[:3] == ["layer", "experts", "latency"]


def test_work_that_no_two_cases_share_has_one_and_bars_go_over_all(shown: Shown) -> None:
    text = shown(ran([dense(seq_len=16), soft()], [1.0, 2.0]))
    assert titles(text)[:3] == ["layer", "seq_len", "latency"]
    assert row(text, "soft/fused").count("█") == 2 * row(text, "dense").count("█")
    assert "Bars are latencies, a full one the slowest case." in text


def test_a_width_by_which_only_layers_differ_is_no_other_work(shown: Shown) -> None:
    text = shown(ran([dense(d_ff=256), soft(), soft(num_experts=16)], [1.0] * 3))
    assert "d_ff=" not in text
    assert titles(text)[:4] == ["layer", "experts", "d_ff", "latency"]


def test_work_that_cases_share_heads_them_and_has_its_own_full_bar(shown: Shown) -> None:
    cases = [dense(), dense(batch_size=2), soft(), soft(batch_size=2)]
    lines = shown(ran(cases, [1.0, 10.0, 4.0, 40.0])).splitlines()
    assert titles("\n".join(lines))[:2] == ["layer", "latency"]
    first, second = lines.index("batch=1"), lines.index("batch=2")
    assert [lines[first + 1].split()[0], lines[first + 2].split()[0]] == ["dense", "soft/fused"]
    assert [lines[second + 1].split()[0], lines[second + 2].split()[0]] == ["dense", "soft/fused"]
    assert not lines[second - 1], "a heading stands apart"
    for place in (first, second):
        assert lines[place + 1].count("█") == lines[place + 2].count("█") // 4
    assert "a full one the slowest under its heading" in "\n".join(lines)


def test_a_case_that_failed_has_no_bar_and_makes_none_shorter(shown: Shown) -> None:
    broken = soft()
    outcomes = [
        *measured(dense(), [1.0]),
        inspected(broken),
        timed(broken, 1, 9.0),
        failed(broken, Status.CRASHED, "signal 9", repeat=2),
    ]
    text = shown(results(outcomes, [dense(), broken]))
    assert row(text, "dense").count("█") >= 10
    assert "9.00 s" in row(text, "soft/fused", "crashed")
    assert "█" not in row(text, "soft/fused", "crashed")
    assert "crashed: soft/fused: signal 9" in text


def test_reasons_that_cases_share_are_said_once(shown: Shown) -> None:
    cases = [soft(num_experts=2**n) for n in range(6)]
    text = shown(results([failed(case, Status.TIMEOUT, "60 s") for case in cases], cases))
    said = "timeout: soft/fused experts=1, soft/fused experts=2, soft/fused experts=4 and 3 more: 60 s"
    assert said in " ".join(text.split())
    assert "of slowest" not in text, "no bars without a latency"
    assert "No room" not in text


def test_a_run_of_nothing_is_a_table_of_titles(shown: Shown) -> None:
    text = shown(results([], []))
    assert titles(text)[:2] == ["layer", "latency"]
    assert "0 cases" in text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp437"])
@pytest.mark.parametrize("width", [100, 80, 60, 40])
def test_no_line_is_wider_than_the_terminal(shown: Shown, width: int, encoding: str) -> None:
    cases = [
        case
        for batch in (1, 64)
        for case in (
            dense(batch_size=batch),
            *(soft(num_experts=2**n, slots_per_expert=2 ** (6 - n), batch_size=batch) for n in range(1, 6)),
            *(
                plan.single(
                    "token_choice",
                    {"num_experts": 8, "top_k": k, "capacity_factor": 1.25, "seq_len": 32, "d_model": 16, "d_ff": 32}
                    | {"batch_size": batch, "group_size": 32 // k, "backend": "indexed"},
                )
                for k in (1, 2)
            ),
        )
    ]
    text = shown(ran(cases, [1e-3 * (i + 1) for i in range(len(cases))]), width=width, encoding=encoding)
    assert max(map(len, text.splitlines())) <= width
    lines = text.splitlines()
    table = lines[: lines.index("", lines.index("batch=64"))]
    assert sum(" ms" in line for line in table) == len(cases)
    drawn = "█" if encoding == "utf-8" else "#"
    if width > 40:
        assert sum(drawn in line or "▏" in line for line in table) >= len(cases) - 2


def test_the_least_is_left_out_first_and_said(shown: Shown) -> None:
    found = ran([dense(), soft(), soft(num_experts=16)], [1.0, 2.0, 3.0])
    assert "No room" not in shown(found)
    assert "No room for tokens/s and FLOPs: see `softmoe-bench show --json`." in " ".join(
        shown(found, width=60).split()
    )
    narrow = shown(found, width=40)
    assert "No room for bars, spread, peak mem, tokens/s and FLOPs:" in " ".join(narrow.split())
    assert titles(narrow) == ["layer", "experts", "latency"]


def test_a_terminal_without_blocks_gets_plain_characters(shown: Shown) -> None:
    text = shown(ran([dense(), soft()], [1e-6, 4e-6]), encoding="ascii")
    assert "1.00 us +-0%" in text
    assert row(text, "soft/fused").count("#") == 4 * row(text, "dense").count("#")
    assert "+- is half the 95 % interval" in text


def test_colour_is_only_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ran([dense(), soft()], [1.0, 2.0])
    monkeypatch.delenv("NO_COLOR", raising=False)
    for forced, refused, coloured in ((False, False, False), (True, False, True), (True, True, False)):
        monkeypatch.setenv("FORCE_COLOR", "1") if forced else monkeypatch.delenv("FORCE_COLOR", raising=False)
        if refused:
            monkeypatch.setenv("NO_COLOR", "1")
        run_table.show(found)
        assert ("\x1b[36m" in capsys.readouterr().out) is coloured


def test_a_caveat_of_a_newer_version_is_shown_by_its_code(shown: Shown) -> None:
    case = soft()
    text = shown(results([inspected(case, flags=[Flag("haunted", "")]), timed(case, 1, 1.0)], [case]))
    letter = row(text, "soft/fused").split()[-1][-1]
    assert f"{letter} haunted (1 of 1 cases)." in text


def test_an_interval_that_says_nothing_takes_no_room(shown: Shown) -> None:
    case = soft()
    text = shown(results(measured(case, [1.0, 10.0]), [case]))
    assert " ±>99% " in row(text, "soft/fused")

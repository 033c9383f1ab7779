"""The closed list of caveats, and where each threshold lies."""

import ast
import re
from pathlib import Path

import pytest

from bench.caveats import (
    DISAGREEMENT,
    FEW_REPEATS,
    NOISY_SPREAD,
    TABLE,
    TOLERATED,
    Caveat,
    of_ceilings,
    of_counts,
    of_repeats,
    of_samples,
)
from bench.counts import Count
from bench.records import Flag

BENCH = Path(__file__).parents[2] / "bench"


def raised() -> set[str]:
    """The codes of every flag that the package makes with a literal."""
    found = set()
    for path in BENCH.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Flag" and node.args:
                code = node.args[0]
                found |= {code.value} if isinstance(code, ast.Constant) and isinstance(code.value, str) else set()
    return found


@pytest.mark.parametrize("caveat", TABLE.values(), ids=lambda caveat: caveat.code)
def test_a_caveat_says_what_it_is_what_it_means_and_what_to_do(caveat: Caveat) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", caveat.code)
    assert caveat.title
    assert len(caveat.title) <= 32  # it stands in a table's cell
    assert not caveat.title.endswith(".")
    for sentence in (caveat.text, caveat.hint):
        assert sentence.endswith(".")
        assert len(sentence) > 10
        assert "\n" not in sentence


def test_codes_and_titles_are_unique() -> None:
    assert list(TABLE) == [caveat.code for caveat in TABLE.values()]
    assert len({caveat.title for caveat in TABLE.values()}) == len(TABLE)


def test_every_flag_that_is_raised_is_in_the_list() -> None:
    assert raised() <= set(TABLE)
    assert {"noisy", "few_repeats", "processes_differ", "counters_disagree", "inaccurate", "loaded"} <= raised()
    assert {"suspect", "unknown_peak"} <= raised()


def test_thresholds_are_those_in_the_texts() -> None:
    assert (NOISY_SPREAD, DISAGREEMENT, FEW_REPEATS) == (0.10, 0.001, 3)
    assert "more than 10%" in TABLE["noisy"].text
    assert "more than 10%" in TABLE["processes_differ"].text
    assert "more than 0.1%" in TABLE["counters_disagree"].text
    assert TOLERATED == 1.05
    assert "above 105%" in TABLE["suspect"].text
    assert TABLE["few_repeats"].text.startswith("Fewer than 3 processes ")
    assert "more than 2%" in TABLE["stolen"].text
    assert "below 75%" in TABLE["clock_low"].text
    assert "more than 5%" in TABLE["clock_changed"].text


@pytest.mark.parametrize(
    ("samples", "flags"),
    [
        # quartiles of five are the second and the fourth
        ([8.0, 9.5, 10.0, 10.5, 12.0], []),
        ([8.0, 9.5, 10.0, 10.51, 12.0], [Flag("noisy", "spread 10%")]),
        ([8.0, 9.0, 10.0, 11.0, 12.0], [Flag("noisy", "spread 20%")]),
        ([10.0, 10.0, 10.0, 10.0, 99.0], []),
        ([1.0, 9.0, 99.0], []),
        ([], []),
    ],
)
def test_samples_that_spread(samples: list[float], flags: list[Flag]) -> None:
    assert of_samples(samples) == flags


@pytest.mark.parametrize(
    ("half_width", "replicates", "flags"),
    [
        (None, 0, [Flag("few_repeats", "0 of at least 3")]),
        (None, 1, [Flag("few_repeats", "1 of at least 3")]),
        (9.0, 2, [Flag("few_repeats", "2 of at least 3")]),
        (None, 3, []),
        (0.10, 3, []),
        (0.1001, 3, [Flag("processes_differ", "±10%")]),
        (0.25, 5, [Flag("processes_differ", "±25%")]),
        (0.0, 5, []),
    ],
)
def test_processes_that_are_few_or_differ(half_width: float | None, replicates: int, flags: list[Flag]) -> None:
    assert of_repeats(half_width, replicates) == flags


@pytest.mark.parametrize(
    ("formula", "counted", "said"),
    [
        (1000.0, 1000.0, None),
        (1000.0, 1001.0, None),
        (1000.0, 999.0, None),
        (1000.0, 1002.0, "torch counts 1.002 times the formula, 2 FLOP more: aten.mm 1.00 kFLOP"),
        (1000.0, 998.0, "torch counts 0.998 times the formula, 2 FLOP fewer: aten.mm 998 FLOP"),
        (1000.0, 3000.0, "torch counts 3 times the formula, 2.00 kFLOP more: aten.mm 3.00 kFLOP"),
        (1000.0, 0.0, "torch counts 0 times the formula, 1.00 kFLOP fewer: aten.mm 0 FLOP"),
        (None, 1000.0, None),
        (1000.0, None, None),
        (None, None, None),
        (0.0, 0.0, None),
    ],
)
def test_counts_that_disagree(formula: float | None, counted: float | None, said: str | None) -> None:
    torch = Count(counted, {} if counted is None else {"aten.mm": counted})
    assert of_counts(formula, torch, Count()) == ([] if said is None else [Flag("counters_disagree", said)])


def test_counters_that_disagree_where_the_formula_is_unknown() -> None:
    said = "torch counts 1 FLOP more than fvcore: matrix products 1 FLOP more (torch aten.mm 3 FLOP, fvcore mm 2 FLOP)"
    found = of_counts(None, Count(3.0, {"aten.mm": 3}), Count(2.0, {"mm": 2}))
    assert found == [Flag("counters_disagree", said)]


def test_samples_that_move_or_hang_together() -> None:
    rising = [1 + 0.004 * i for i in range(30)]
    assert of_samples(rising) == [Flag("drifting", "by +8%"), Flag("correlated", "correlation 0.90")]
    little = [1 + 0.001 * i for i in range(30)]
    assert [flag.code for flag in of_samples(little)] == ["correlated"]
    assert of_samples([1.0, 1.01, 0.99] * 10) == []


@pytest.mark.parametrize(
    ("shares", "flags"),
    [
        ({}, []),
        ({"the measured FLOP/s": 1.05}, []),
        ({"the measured FLOP/s": 1.051}, [Flag("suspect", "105% of the measured FLOP/s")]),
        ({"a": 3.0, "b": 0.9, "c": 1.5}, [Flag("suspect", "300% of a, 150% of c")]),
    ],
)
def test_rates_above_what_a_device_can_do(shares: dict[str, float], flags: list[Flag]) -> None:
    assert of_ceilings(shares) == flags

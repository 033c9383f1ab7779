"""Bars and lines of blocks: exact to the eighth of a character, and never without an alternative."""

import pytest

from bench.cli.bars import bar, has_blocks, sparkline


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(0.0, ""), (1.0, "████"), (0.5, "██"), (0.53125, "██▏"), (0.96875, "███▉"), (1e-9, "▏"), (0.25, "█")],
)
def test_a_bar_is_exact_to_the_eighth_and_never_invisible(share: float, drawn: str) -> None:
    assert bar(share, 4, blocks=True) == drawn


@pytest.mark.parametrize(("share", "drawn"), [(0.0, ""), (1.0, "####"), (0.5, "##"), (1e-9, "#"), (0.8, "###")])
def test_a_plain_bar(share: float, drawn: str) -> None:
    assert bar(share, 4, blocks=False) == drawn


@pytest.mark.parametrize(
    ("encoding", "has"),
    [("utf-8", True), ("ascii", False), ("latin-1", False), ("cp437", False), ("unheard-of", False)],
)
def test_which_encodings_have_blocks(encoding: str, has: bool) -> None:
    assert has_blocks(encoding) is has


def test_sparkline_shows_levels_not_noise() -> None:
    assert sparkline([1.0, 1.0, 2.0, 2.0]) == "▁▁██"
    assert len(set(sparkline([1.0, 1.01, 0.99, 1.0]))) <= 2
    assert sparkline([float(i // 50 + 1) for i in range(100)], width=10) == "▁▁▁▁▁█████"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([0.0, 1.0]) == "▁█"
    assert sparkline([]) == ""


def test_a_plain_sparkline() -> None:
    assert sparkline([1.0, 1.0, 2.0, 2.0], blocks=False) == "1188"

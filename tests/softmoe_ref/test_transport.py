from typing import Any

import pytest
import torch

from softmoe_ref import Assignments
from softmoe_ref.transport import Looped, OneHot, Padded, Sorted, sorted_rows

WAYS = {"OneHot": OneHot.of, "Padded": Padded.of, "Sorted": Sorted.of, "Looped": Looped.of}


def by_hand(capacity: int | None) -> Assignments:
    """Two groups of three tokens, two choices of three experts; expert 2 gets nothing."""
    expert = torch.tensor([[[0, 1], [0, 1], [0, 1]], [[1, 0], [1, 0], [0, 1]]])
    place = torch.tensor([[[0, 0], [1, 1], [2, 2]], [[0, 1], [1, 2], [0, 2]]])
    token = torch.arange(6).view(2, 3, 1).expand(2, 3, 2)
    return Assignments(
        shape=(1, 6),
        token=token,
        expert=expert,
        place=place,
        gate=torch.tensor([0.5, 0.25]).expand(2, 3, 2),
        kept=torch.ones_like(expert, dtype=torch.bool) if capacity is None else place < capacity,
        gates=torch.full((2, 3, 3), 1 / 3),
        capacity=capacity,
    )


def tokens_per_expert(way: str, rows: Any) -> list[list[float]]:  # noqa: ANN401 - each way has rows of its own
    """The numbers of the tokens that each expert sees, in order; 0 is padding."""
    if way == "Sorted":
        rows = torch.tensor_split(rows.rows[: int(rows.ends[-1])], rows.ends[:-1].tolist())
    return [[number for number in part[:, 0].tolist() if number] for part in rows]


@pytest.mark.parametrize("way", WAYS)
def test_each_expert_sees_its_tokens_by_place_and_the_loop_by_number(way: str) -> None:
    x = torch.arange(1.0, 7).view(1, 6, 1).expand(1, 6, 2)
    seen = tokens_per_expert(way, WAYS[way](by_hand(2)).dispatch(x))
    assert seen == ([[1, 2, 4, 6], [1, 2, 4, 5], []] if way == "Looped" else [[1, 2, 6, 4], [1, 2, 4, 5], []])
    seen = tokens_per_expert(way, WAYS[way](by_hand(None)).dispatch(x))
    assert [sorted(part) for part in seen] == [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], []]


@pytest.mark.parametrize("way", WAYS)
def test_combine_weighs_what_came_back_and_leaves_dropped_tokens_at_zero(way: str) -> None:
    x = torch.arange(1.0, 7).view(1, 6, 1).expand(1, 6, 2)
    decision: Any = WAYS[way](by_hand(2))
    y = decision.combine(decision.dispatch(x))[0, :, 0]
    # token 3 (the third of its group) was dropped twice, tokens 5 and 6 lost one choice
    assert y.tolist() == [0.75 * 1, 0.75 * 2, 0, 0.75 * 4, 0.5 * 5, 0.5 * 6]
    decision = WAYS[way](by_hand(None))
    assert decision.combine(decision.dispatch(x))[0, :, 0].tolist() == [0.75 * t for t in range(1, 7)]


@pytest.mark.parametrize("way", WAYS)
def test_the_facts_do_not_depend_on_the_way(way: str) -> None:
    decision: Any = WAYS[way](by_hand(2))
    assert decision.load().tolist() == [4, 4, 0]
    assert decision.importance().tolist() == pytest.approx([2, 2, 2])
    assert decision.drop_rate() == pytest.approx(4 / 12)
    assert decision.unrouted_rate() == pytest.approx(1 / 6)
    assert decision.assigned().sum(1).tolist() == [2, 2, 0, 2, 1, 1]


def test_sorted_rows_are_a_permutation_without_gaps() -> None:
    facts = by_hand(2)
    row, ends = sorted_rows(facts)
    assert sorted(row[facts.kept].tolist()) == list(range(8))
    assert ends.tolist() == [4, 8, 8]


def test_dropped_rows_cannot_leak_even_if_the_left_over_rows_hold_nan() -> None:
    facts = by_hand(1)
    decision = Sorted.of(facts)
    rows = decision.dispatch(torch.ones(1, 6, 2))
    assert not rows.full
    rows.rows[int(rows.ends[-1]) :] = float("nan")
    y = decision.combine(rows)
    assert torch.isfinite(y).all()
    assert torch.all(y[0, 2] == 0)


@pytest.mark.parametrize("way", WAYS)
def test_a_buffer_larger_than_the_load_changes_nothing(way: str) -> None:
    x = torch.randn(1, 6, 4)
    wide: Any = WAYS[way](by_hand(3))
    exact: Any = WAYS[way](by_hand(None))
    torch.testing.assert_close(wide.combine(wide.dispatch(x)), exact.combine(exact.dispatch(x)))

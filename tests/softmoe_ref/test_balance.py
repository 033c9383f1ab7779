"""Assignments by themselves: as good as the exact one, balanced, and always over."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from softmoe_ref import balance
from softmoe_ref.balance import auction, sinkhorn

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


def even(tokens: int, experts: int) -> list[int]:
    return [tokens // experts + (e < tokens % experts) for e in range(experts)]


def load_of(choice: Tensor, experts: int) -> list[int]:
    return torch.bincount(choice, minlength=experts).tolist()


def best_total(scores: Tensor) -> float:
    """The exact optimum, with one column for each place."""
    places = torch.repeat_interleave(torch.arange(scores.shape[1]), torch.tensor(even(*scores.shape)))
    rows, columns = linear_sum_assignment(-scores[:, places].numpy())
    return float(scores[rows, places[columns]].sum())


@pytest.mark.parametrize("kind", ["random", "popular", "alike"])
@pytest.mark.parametrize(("tokens", "experts"), [(64, 8), (100, 7), (512, 16), (256, 64), (16, 16), (5, 8)])
def test_the_auction_is_within_one_percent_of_the_exact_assignment(tokens: int, experts: int, kind: str) -> None:
    generator = torch.Generator().manual_seed(tokens + experts)
    scores = torch.randn(tokens, experts, generator=generator)
    if kind == "popular":  # every token likes the same experts
        scores += 3 * torch.randn(experts, generator=generator)
    if kind == "alike":  # tokens lie on a plane
        scores = torch.randn(tokens, 2, generator=generator) @ torch.randn(2, experts, generator=generator)
    choice = auction(scores)
    assert load_of(choice, experts) == even(tokens, experts)
    best, total = best_total(scores), float(scores.gather(1, choice.unsqueeze(1)).sum())
    # what popularity adds to the score is the same for every balanced assignment: count from the mean
    common = float((scores.mean(0) * torch.tensor(even(tokens, experts))).sum())
    assert 0.99 * (best - common) <= total - common <= best - common + 1e-3


@pytest.mark.parametrize(
    "scores",
    [
        torch.zeros(24, 5),
        torch.ones(24, 5) * 1e6,
        torch.arange(5.0).expand(24, 5),
        torch.arange(24.0).unsqueeze(1).expand(24, 5),
        torch.eye(5).repeat(5, 1)[:24],
        torch.zeros(3, 8),
        torch.randn(1, 8, generator=torch.Generator().manual_seed(0)),
        torch.randn(9, 1, generator=torch.Generator().manual_seed(0)),
        torch.full((24, 5), torch.nan),
        torch.full((24, 5), torch.inf),
        torch.randn(24, 5, generator=torch.Generator().manual_seed(0)).mul_(1e30),
        torch.randn(24, 5, generator=torch.Generator().manual_seed(0)).mul_(1e-30),
    ],
)
def test_the_auction_ends_balanced_on_ties_constants_and_what_is_no_number(scores: Tensor) -> None:
    assert load_of(auction(scores), scores.shape[1]) == even(*scores.shape)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 3), st.integers(0, 10**6))
def test_the_auction_is_balanced_on_any_scores(tokens: int, experts: int, values: int, seed: int) -> None:
    scores = torch.randint(0, values + 1, (tokens, experts), generator=torch.Generator().manual_seed(seed)).float()
    assert load_of(auction(scores), experts) == even(tokens, experts)


def test_bids_by_hand() -> None:
    # both tokens want expert 0; token 1 loses less by going elsewhere
    assert auction(torch.tensor([[3.0, 0.0], [3.0, 2.0]])).tolist() == [0, 1]
    assert auction(torch.tensor([[3.0, 2.0], [3.0, 0.0]])).tolist() == [1, 0]


def test_an_auction_cut_short_fills_the_places_that_are_left_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "MOST_BIDS", 1)
    scores = torch.tensor([[0.0, 9.0, 0.0]]).expand(6, 3) + torch.arange(6.0).unsqueeze(1) * torch.tensor([0, 1.0, 0])
    # the two highest bidders keep expert 1, the others follow in order
    assert auction(scores).tolist() == [0, 0, 2, 2, 1, 1]
    monkeypatch.setattr(balance, "MOST_BIDS", 0)
    assert auction(scores).tolist() == [0, 0, 1, 1, 2, 2]


def test_sinkhorn_equals_megatron() -> None:
    with np.load(GOLDEN / "megatron_sinkhorn_zloss.npz") as stored:
        logits, expected = torch.from_numpy(stored["logits"]), torch.from_numpy(stored["sinkhorn"])
    found = sinkhorn(logits)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert torch.equal(found.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0])
def test_sinkhorns_columns_are_even_and_its_rows_nearly(scale: float) -> None:
    scores = scale * torch.randn(96, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = sinkhorn(scores, tolerance=1e-9)
    torch.testing.assert_close(weights.sum(0), torch.full((6,), 1 / 6, dtype=torch.float64), rtol=1e-5, atol=0)
    torch.testing.assert_close(weights.sum(1), torch.full((96,), 1 / 96, dtype=torch.float64), rtol=1e-3, atol=0)


def test_sinkhorn_survives_large_scores_and_ends_on_what_is_no_number() -> None:
    scores = torch.tensor([[1000.0, 0.0], [1000.0, -1000.0]])
    assert torch.isfinite(sinkhorn(scores)).all()
    assert sinkhorn(torch.full((4, 2), torch.nan)).shape == (4, 2)


def test_sinkhorn_takes_what_everybody_likes_into_account() -> None:
    scores = torch.randn(512, 4, generator=torch.Generator().manual_seed(0)) + torch.tensor([4.0, 0, 0, 0])
    assert load_of(scores.argmax(1), 4)[0] > 480
    assert max(load_of(sinkhorn(scores).argmax(1), 4)) < 2 * 128

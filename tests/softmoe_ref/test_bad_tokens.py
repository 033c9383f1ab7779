"""How far a token that is NaN or infinite reaches, in every layer and backend.

Its own output is never finite. No other sequence sees it, but where an assignment covers the whole batch. Where tokens
are gathered, no other token of its sequence sees its numbers either: it may take a place from one, and no more.
"""

import math

import pytest
import torch
import variants
from torch import Tensor
from variants import EXAMPLES, VARIATIONS

from softmoe_ref import MoE

BAD = (1, 5)
"""Which token is bad: the sequence, and its place in it."""

GATHERING = ("grouped", "indexed", "loop", "bag")
"""Backends that compute a token's output from its own rows only; products with one-hot weights add 0 times the rest."""

WHOLE_BATCH = {"balanced_assignment"}
"""Layers with one assignment, and for `einsum` one group, for all sequences together."""


def with_bad_token(value: float) -> tuple[Tensor, Tensor]:
    x = variants.tokens()
    bad = x.clone()
    bad[BAD] = value
    return x, bad


def of_same_noise(layer: MoE, x: Tensor) -> Tensor:
    torch.manual_seed(3)
    return layer(x).detach()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("name", "axes"), VARIATIONS)
def test_its_own_output_shows_it_and_no_other_sequence_does(name: str, axes: dict[str, object], training: bool) -> None:
    layer = variants.build(name, axes).train(training)
    for value in (math.nan, math.inf):
        x, bad = with_bad_token(value)
        y, expected = of_same_noise(layer, bad), of_same_noise(layer, x)
        assert not y[BAD].isfinite().any()
        if name not in WHOLE_BATCH:
            torch.testing.assert_close(y[0], expected[0], rtol=0, atol=1e-6)
        elif axes["backend"] in GATHERING:
            assert y[0].isfinite().all()
        decision = layer.route(bad)
        assert decision.assigned().any()
        assert 0 <= float(decision.load().min()) <= float(decision.load().max()) <= x.shape[0] * x.shape[1]
        assert 0 <= decision.drop_rate() < 1
        assert 0 <= decision.unrouted_rate() < 1


@pytest.mark.parametrize(("name", "axes"), [one for one in VARIATIONS if one.values[1].get("backend") in GATHERING])
def test_where_tokens_are_gathered_the_others_see_at_most_that_a_place_is_taken(
    name: str, axes: dict[str, object]
) -> None:
    layer = variants.build(name, axes)
    for value in (math.nan, math.inf):
        x, bad = with_bad_token(value)
        y, expected = layer(bad).flatten(0, 1), layer(x).flatten(0, 1)
        number = BAD[0] * x.shape[1] + BAD[1]
        assigned, before = layer.route(bad).assigned(), layer.route(x).assigned()
        others = torch.arange(len(y)) != number
        same = (assigned == before).all(1) & others
        assert y[others].isfinite().all()
        torch.testing.assert_close(y[same], expected[same], rtol=0, atol=1e-6)
        limited = getattr(layer.router, "capacity_factor", None) is not None
        assert int((others & ~same).sum()) <= (2 * assigned.shape[1] if limited else 0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_a_batch_of_nothing_else_ends(name: str, axes: dict[str, object], training: bool) -> None:
    layer = variants.build(name, axes).train(training)
    for value in (math.nan, math.inf, -math.inf):
        y = layer(torch.full_like(variants.tokens(), value))
        assert not y.isfinite().all()

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from softmoe_ref import MoE


def test_it_is_the_plain_feed_forward_network(make: Callable[..., MoE]) -> None:
    layer = make("dense", d_model=8, d_ff=12)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    w = layer.state_dict()
    hidden = functional.linear(x, w["experts.w1"][0].T, w["experts.b1"][0])
    expected = functional.linear(functional.gelu(hidden, approximate="tanh"), w["experts.w2"][0].T, w["experts.b2"][0])
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("batch", "length", "d_model", "d_ff"), [(1, 1, 1, 1), (2, 5, 7, 3), (3, 4, 8, 16)])
def test_value_and_every_gradient_equal_the_oracle(
    batch: int, length: int, d_model: int, d_ff: int, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make("dense", d_model=d_model, d_ff=d_ff), batch, length)


def test_the_decision_sends_every_token_to_the_only_expert(make: Callable[..., MoE]) -> None:
    decision = make("dense", d_model=8, d_ff=12).route(torch.zeros(2, 5, 8, dtype=torch.float64))
    assert decision.assigned().tolist() == [[True]] * 10
    assert decision.load().tolist() == [10.0]
    assert decision.importance().tolist() == [10.0]
    assert (decision.drop_rate(), decision.unrouted_rate()) == (0.0, 0.0)

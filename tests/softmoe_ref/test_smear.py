from collections.abc import Callable

import pytest
import torch

import softmoe_ref
from softmoe_ref import MoE

SIZES = {"d_model": 8, "d_ff": 12}


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize(("batch", "length", "experts"), [(1, 1, 1), (1, 5, 3), (3, 4, 2), (4, 7, 5)])
def test_value_and_every_gradient_equal_the_oracle(
    batch: int, length: int, experts: int, activation: str, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make("smear", **SIZES, num_experts=experts, activation=activation), batch, length)


def dense_with(layer: MoE, weights: dict[str, torch.Tensor]) -> MoE:
    axes = {"d_model": layer.experts.d_model, "d_ff": weights["experts.w1"].shape[2]}
    dense = softmoe_ref.build("dense", **axes, dtype=torch.float64)
    dense.load_state_dict(weights)
    assert isinstance(dense, MoE)
    return dense


def test_equal_experts_are_the_dense_network_whatever_the_router_says(make: Callable[..., MoE]) -> None:
    layer = make("smear", **SIZES, num_experts=3)
    first = {key: value[:1] for key, value in layer.state_dict().items() if key.startswith("experts")}
    layer.load_state_dict({key: value.expand(3, *value.shape[1:]) for key, value in first.items()}, strict=False)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x), dense_with(layer, first)(x), rtol=0, atol=1e-12)


def test_an_untrained_scale_of_zero_averages_all_experts_evenly(make: Callable[..., MoE]) -> None:
    layer = make("smear", **SIZES, num_experts=3)
    with torch.no_grad():
        layer.router.weight_scale.zero_()
    mean = {key: value.mean(0, keepdim=True) for key, value in layer.state_dict().items() if key.startswith("experts")}
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x), dense_with(layer, mean)(x), rtol=0, atol=1e-12)


def test_a_sequence_s_tokens_may_come_in_any_order(make: Callable[..., MoE]) -> None:
    layer = make("smear", **SIZES, num_experts=3)
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order], rtol=0, atol=1e-12)


def test_the_router_ignores_the_size_of_a_sequence_s_mean_and_of_its_own_vectors(make: Callable[..., MoE]) -> None:
    layer = make("smear", **SIZES, num_experts=3)
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    mixture = layer.route(x).mixture
    torch.testing.assert_close(layer.route(100 * x).mixture, mixture, rtol=0, atol=1e-4)  # but for the epsilon
    with torch.no_grad():
        layer.router.weight.mul_(100)
    torch.testing.assert_close(layer.route(x).mixture, mixture, rtol=0, atol=1e-4)


def test_the_decision_is_a_share_of_every_expert_for_each_sequence(make: Callable[..., MoE]) -> None:
    decision = make("smear", **SIZES, num_experts=3).route(torch.randn(2, 5, 8, dtype=torch.float64))
    assert bool((decision.mixture > 0).all())
    torch.testing.assert_close(decision.mixture.sum(1), torch.ones(2, dtype=torch.float64))
    assert decision.assigned().shape == (10, 3)
    assert bool(decision.assigned().all())
    assert decision.load().tolist() == [10.0] * 3
    torch.testing.assert_close(decision.importance(), 5 * decision.mixture.sum(0))
    assert (decision.drop_rate(), decision.unrouted_rate(), decision.losses()) == (0.0, 0.0, {})


def test_an_untrained_router_mixes_almost_evenly() -> None:
    torch.manual_seed(0)
    layer = softmoe_ref.build("smear", d_model=64, d_ff=12, num_experts=4)
    mixture = layer.route(torch.randn(3, 10, 64)).mixture
    torch.testing.assert_close(mixture, torch.full((3, 4), 0.25), rtol=0, atol=0.1)
    assert mixture.std() > 0


def test_bad_axes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^num_experts must be a whole number of at least 1, got 0$"):
        softmoe_ref.build("smear", **SIZES, num_experts=0)

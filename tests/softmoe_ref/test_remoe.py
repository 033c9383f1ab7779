from collections.abc import Callable
from typing import Any

import pytest
import torch

import softmoe_ref
from softmoe_ref import MoE
from softmoe_ref.remoe import FIRST_COEFFICIENT, next_coefficient

BACKENDS = ("grouped", "loop", "einsum")
SIZES = {"d_model": 8, "d_ff": 6, "num_experts": 4}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "axes",
    [{"num_experts": 2, "top_k": 1}, {"num_experts": 5, "top_k": 2}, {"num_experts": 16, "activation": "swiglu"}],
    ids=str,
)
def test_value_and_every_gradient_equal_the_oracle(
    axes: dict[str, object], backend: str, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make("remoe", d_model=7, d_ff=5, backend=backend, **axes), 2, 9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tokens_may_have_every_expert_or_none_at_all(
    backend: str, make: Callable[..., MoE], agree: Callable[..., None], run: Callable[..., Any]
) -> None:
    layer = make("remoe", **SIZES, backend=backend)
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    with torch.no_grad():
        layer.router.bias.fill_(30)
    assert layer.route(x).load().tolist() == [18] * 4
    assert layer.route(x).unrouted_rate() == 0
    agree(layer, 2, 9)
    with torch.no_grad():
        layer.router.bias.fill_(-30)
    assert layer.route(x).load().tolist() == [0] * 4
    assert layer.route(x).unrouted_rate() == 1
    y, gradients = run(layer, x, torch.ones_like(x))
    assert torch.all(y == 0)
    assert all(torch.all(gradient == 0) for gradient in gradients.values())


def test_all_backends_agree_in_float32_too(make: Callable[..., MoE], run: Callable[..., Any]) -> None:
    x, cotangent = torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(5))
    layers = [make("remoe", **SIZES, backend=backend, dtype=torch.float32) for backend in BACKENDS]
    (y, gradients), *others = [run(layer, x, cotangent) for layer in layers]
    for other_y, other_gradients in others:
        torch.testing.assert_close(other_y, y, rtol=1e-5, atol=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(other_gradients[name], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("num_experts", "top_k"), [(8, 1), (8, 2), (8, 4), (32, 2)])
def test_a_fresh_layer_has_top_k_experts_per_token_on_average(num_experts: int, top_k: int) -> None:
    torch.manual_seed(0)
    layer = softmoe_ref.build("remoe", d_model=64, d_ff=4, num_experts=num_experts, top_k=top_k)
    load = layer.route(torch.randn(4, 512, 64)).load()
    assert float(load.sum()) / 2048 == pytest.approx(top_k, rel=0.1)


def test_the_loss_by_hand() -> None:
    layer = softmoe_ref.build("remoe", d_model=2, d_ff=4, num_experts=2, top_k=1, dtype=torch.float64)
    with torch.no_grad():
        layer.router.weight.copy_(torch.eye(2))
        layer.router.bias.zero_()
    x = torch.tensor([[[1.0, -1.0], [3.0, 2.0], [-1.0, -1.0], [2.0, -4.0]]], dtype=torch.float64)
    # gates of expert 0: 1, 3, 0, 2; of expert 1: 0, 2, 0, 0
    decision = layer.route(x)
    assert decision.load().tolist() == [3, 1]
    assert decision.importance().tolist() == [6, 2]
    assert decision.unrouted_rate() == 0.25
    loss = decision.losses()["l1"]
    assert float(loss.detach()) == pytest.approx(2 * (6 / 4 * 3 / 4 + 2 / 4 * 1 / 4))
    loss.backward()
    assert layer.router.bias.grad is not None
    assert layer.router.bias.grad.tolist() == pytest.approx([2 * 3 / 4 * 3 / 4, 2 * 1 / 4 * 1 / 4])


def test_the_coefficient_moves_by_a_fifth_towards_the_target() -> None:
    assert next_coefficient(1.0, active_share=0.5, target_share=0.25) == 1.2
    assert next_coefficient(1.2, active_share=0.1, target_share=0.25) == 1.0
    assert next_coefficient(3.0, active_share=0.25, target_share=0.25) == 3.0


def test_loss_and_coefficient_bring_a_layer_down_to_top_k_experts_per_token() -> None:
    torch.manual_seed(0)
    layer = softmoe_ref.build("remoe", d_model=16, d_ff=4, num_experts=8, top_k=2)
    with torch.no_grad():
        layer.router.bias.zero_()  # half of the experts, as without a bias
    x = torch.randn(4, 64, 16)
    optimizer = torch.optim.SGD(layer.router.parameters(), lr=0.01)
    coefficients, shares = [FIRST_COEFFICIENT], []
    for _ in range(200):
        decision = layer.route(x)
        optimizer.zero_grad()
        (coefficients[-1] * decision.losses()["l1"]).backward()
        optimizer.step()
        shares.append(float(decision.assigned().double().mean()))
        coefficients.append(next_coefficient(coefficients[-1], active_share=shares[-1], target_share=2 / 8))
    assert shares[0] == pytest.approx(0.5, abs=0.05)
    assert shares[-1] <= 0.25
    top = coefficients.index(max(coefficients))
    assert shares[top] <= 0.25 < shares[top - 1]  # the coefficient falls as soon as the target is reached


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_is_finite_in_low_precision(backend: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = softmoe_ref.build("remoe", d_model=16, d_ff=8, num_experts=4, backend=backend, dtype=dtype)
    y = layer(torch.randn(2, 32, 16, dtype=dtype))
    assert y.dtype == dtype
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in layer.parameters())


def test_more_experts_per_token_than_a_quantile_can_give_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^top_k must be below num_experts = 4, got 4$"):
        softmoe_ref.build("remoe", **SIZES, top_k=4)

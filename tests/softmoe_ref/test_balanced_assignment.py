from collections.abc import Callable
from typing import Any

import pytest
import torch

import softmoe_ref
from softmoe_ref import MoE
from softmoe_ref.balanced_assignment import ASSIGNMENTS, Blended

BACKENDS = ("grouped", "indexed", "loop", "einsum")
SIZES = {"d_model": 8, "d_ff": 6, "num_experts": 4}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "axes",
    [
        {"num_experts": 1},
        {"num_experts": 4},
        {"num_experts": 6, "activation": "swiglu"},
        {"num_experts": 24},  # more experts than tokens
        {"num_experts": 4, "assignment": "sinkhorn"},
        {"num_experts": 7, "assignment": "sinkhorn"},
    ],
    ids=str,
)
def test_value_and_every_gradient_equal_the_oracle(
    axes: dict[str, object], backend: str, training: bool, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make("balanced_assignment", d_model=7, d_ff=5, backend=backend, **axes).train(training), 2, 9)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_every_gradient_passes_gradcheck(assignment: str, training: bool, make: Callable[..., MoE]) -> None:
    layer = make("balanced_assignment", d_model=3, d_ff=2, num_experts=4, assignment=assignment).train(training)
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    names, leaves = zip(*layer.named_parameters(), strict=True)

    def call(tokens: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (tokens,))

    assert torch.autograd.gradcheck(call, (x, *leaves), fast_mode=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_training_the_auction_gives_every_expert_as_many_tokens(backend: str, make: Callable[..., MoE]) -> None:
    layer = make("balanced_assignment", **SIZES, backend=backend)
    x = torch.randn(3, 8, 8, dtype=torch.float64) + 1.0
    decision = layer.route(x)
    assert decision.load().tolist() == [6, 6, 6, 6]
    assert torch.all(decision.assigned().sum(1) == 1)
    assert (decision.drop_rate(), decision.unrouted_rate(), decision.losses()) == (0, 0, {})


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_in_evaluation_each_token_takes_its_best_expert(assignment: str, make: Callable[..., MoE]) -> None:
    layer = make("balanced_assignment", **SIZES, assignment=assignment).eval()
    x = torch.randn(3, 8, 8, dtype=torch.float64) + 1.0
    logits = x.flatten(0, 1) @ layer.router.weight
    assert torch.equal(layer.route(x).assigned().int().argmax(1), logits.argmax(1))
    assert torch.equal(layer(x), layer(x))
    alone = torch.cat([layer(sequence.unsqueeze(0)) for sequence in x])
    torch.testing.assert_close(layer(x), alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.route(x).importance(), logits.sigmoid().sum(0))


def test_in_training_sequences_see_each_other(make: Callable[..., MoE]) -> None:
    layer = make("balanced_assignment", **SIZES)
    x = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alone, twice = layer.route(x).assigned(), layer.route(torch.cat([x, x * 3])).assigned()
    assert not torch.equal(alone, twice[:8])


def test_the_auctions_output_keeps_the_share_of_the_token_that_its_expert_does_not_take(
    make: Callable[..., MoE],
) -> None:
    x = torch.randn(2, 8, 8, dtype=torch.float64)
    layer = make("balanced_assignment", **SIZES)
    with torch.no_grad():
        layer.experts.w2.zero_()
        layer.experts.b2.zero_()
    decision: Any = layer.route(x)
    assert isinstance(decision, Blended)
    gate = decision.inner.assignments.gate.view(2, 8, 1)
    torch.testing.assert_close(layer(x), (1 - gate) * x)
    plain = make("balanced_assignment", **SIZES, assignment="sinkhorn")
    with torch.no_grad():
        plain.experts.w2.zero_()
        plain.experts.b2.zero_()
    assert torch.all(plain(x) == 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_is_finite_in_low_precision(backend: str, assignment: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    axes = {"d_model": 16, "d_ff": 8, "num_experts": 4, "assignment": assignment, "backend": backend}
    layer = softmoe_ref.build("balanced_assignment", **axes, dtype=dtype)
    y = layer(torch.randn(2, 32, 16, dtype=dtype))
    assert y.dtype == dtype
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in layer.parameters())


def test_evaluation_does_not_wait_for_the_device_with_grouped_products() -> None:
    sizes = {"d_model": 8, "d_ff": 16, "num_experts": 4}
    layer = softmoe_ref.build("balanced_assignment", **sizes, device="meta", dtype=torch.bfloat16)
    x = torch.empty(2, 8, 8, device="meta", dtype=torch.bfloat16)
    assert layer.eval()(x).shape == x.shape
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        layer.train()(x)


def test_an_unknown_assignment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^assignment must be one of auction, sinkhorn, got 'hungarian'$"):
        softmoe_ref.build("balanced_assignment", **SIZES, assignment="hungarian")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import softmoe_ref
from softmoe_ref import MoE, oracle
from softmoe_ref.deepseek import DeepSeekRouter
from softmoe_ref.token_choice import best_experts

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
BACKENDS = ("grouped", "indexed", "loop", "einsum")
CASES: list[dict[str, object]] = [
    {"num_experts": 1, "top_k": 1},
    {"num_experts": 5, "top_k": 5, "num_shared_experts": 0},
    {"num_experts": 6, "top_k": 2, "num_shared_experts": 3, "route_scale": 2.5},
    {"num_experts": 6, "top_k": 3, "activation": "swiglu"},
    {"num_experts": 6, "top_k": 2, "score": "softmax", "route_scale": 2.5},
    {"num_experts": 8, "top_k": 3, "expert_groups": 4, "top_groups": 2},
    {"num_experts": 8, "top_k": 2, "expert_groups": 4, "top_groups": 1},
    {"num_experts": 8, "top_k": 2, "expert_groups": 4, "top_groups": 4},
    {"num_experts": 8, "top_k": 2, "expert_groups": 8, "top_groups": 2},  # groups of a single expert
    {"num_experts": 8, "top_k": 3, "expert_groups": 2, "top_groups": 1, "score": "softmax"},
]


def biased(layer: MoE, *, scale: float = 1.0) -> MoE:
    """The layer with a bias that decides who is chosen, below -1 and above 1 too."""
    bias: Any = layer.router.bias
    if bias is not None:
        bias.copy_(scale * torch.randn(bias.shape, generator=torch.Generator().manual_seed(3)))
    return layer


@pytest.mark.parametrize(
    ("stem", "score"), [("deepseek_gate_sigmoid_bias_g1", "sigmoid"), ("deepseek_gate_softmax_g1", "softmax")]
)
def test_choice_and_weights_equal_the_authors_code(stem: str, score: str) -> None:
    with np.load(GOLDEN / f"{stem}.npz") as stored:
        vectors = {name: torch.from_numpy(stored[name]) for name in stored.files}
    d_model, experts = vectors["W"].T.shape
    layer = softmoe_ref.build(
        "deepseek",
        d_model=d_model,
        d_ff=4,
        num_experts=experts,
        top_k=int(vectors["topk"]),
        expert_groups=int(vectors["n_groups"]),
        top_groups=int(vectors["topk_groups"]),
        score=score,
        route_scale=float(vectors["route_scale"]),
    )
    router: Any = layer.router
    with torch.no_grad():
        router.weight.copy_(vectors["W"].T)
        if score == "sigmoid":
            router.bias.copy_(vectors["bias"])
    facts = layer.route(vectors["x"].unsqueeze(0)).assignments
    assert torch.equal(facts.expert[0], vectors["indices"])
    torch.testing.assert_close(facts.gate[0].detach(), vectors["weights"], rtol=0, atol=1.5e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axes", CASES, ids=str)
def test_value_and_every_gradient_equal_the_oracle(
    axes: dict[str, object], backend: str, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(biased(make("deepseek", d_model=7, d_ff=5, backend=backend, **axes)), 2, 9)


def test_gradients_pass_gradcheck_with_shared_experts_and_groups(make: Callable[..., MoE]) -> None:
    layer = biased(make("deepseek", d_model=3, d_ff=2, num_experts=4, expert_groups=2, num_shared_experts=2))
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    names, leaves = zip(*layer.named_parameters(), strict=True)
    assert "shared.w1" in names

    def call(tokens: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (tokens,))

    assert torch.autograd.gradcheck(call, (x, *leaves), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_is_finite_in_low_precision(backend: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = softmoe_ref.build("deepseek", d_model=16, d_ff=8, num_experts=8, backend=backend, dtype=dtype)
    y = layer(torch.randn(2, 6, 16, dtype=dtype))
    assert y.dtype == dtype
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in layer.parameters())


def test_the_bias_moves_the_choice_and_not_the_weights(make: Callable[..., MoE]) -> None:
    layer = make("deepseek", d_model=8, d_ff=4, num_experts=6, top_k=2, route_scale=1.5)
    router: Any = layer.router
    router.bias[4] = 10.0
    x = torch.randn(2, 8, 8, dtype=torch.float64)
    facts = layer.route(x).assignments
    assert torch.all(facts.expert[..., 0] == 4)
    scores = torch.sigmoid(x @ router.weight).gather(2, facts.expert)
    torch.testing.assert_close(facts.gate, 1.5 * scores / scores.sum(2, keepdim=True))
    torch.testing.assert_close(facts.gate.sum(2), torch.full((2, 8), 1.5, dtype=torch.float64))


def test_softmax_weights_are_not_divided_by_their_sum(make: Callable[..., MoE]) -> None:
    layer = make("deepseek", d_model=8, d_ff=4, num_experts=6, top_k=2, score="softmax")
    router: Any = layer.router
    assert router.bias is None
    x = torch.randn(2, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(layer.route(x).assignments.gate, (x @ router.weight).softmax(2).topk(2).values)


def test_groups_are_ranked_by_their_two_best_or_by_their_best() -> None:
    scores = torch.tensor([[[0.9, 0.1, 0.1, 0.6, 0.5, 0.0]]])  # groups of three: 0.9 + 0.1 against 0.6 + 0.5
    router = gate(score="sigmoid")
    assert router.choose(scores).tolist() == [[[3, 4]]]
    assert gate(score="softmax").choose(scores).tolist() == [[[0, 1]]]
    assert router.bias is not None
    router.bias.copy_(torch.tensor([0.0, 0.5, 0.0, 0.0, 0.0, 0.0]))
    assert router.choose(scores).tolist() == [[[0, 1]]]


def test_experts_below_minus_one_are_never_taken_twice() -> None:
    ranked = torch.tensor([[[-5.0, -3.0, -4.0]]])
    assert best_experts(ranked, 3).tolist() == [[[1, 2, 0]]]


def test_the_bias_goes_against_the_load_by_the_rate_and_evens_it_out(make: Callable[..., MoE]) -> None:
    layer = make("deepseek", d_model=8, d_ff=4, num_experts=4, top_k=1)
    router: Any = layer.router
    router.update_bias(torch.tensor([4, 0, 2, 2]), rate=0.25)
    assert router.bias.tolist() == [-0.25, 0.25, 0, 0]
    x = torch.randn(16, 32, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    before = float(layer.route(x).load().max())
    for _ in range(400):
        router.update_bias(layer.route(x).load(), rate=0.005)
    assert before > 1.5 * 128
    assert float(layer.route(x).load().max()) < 1.05 * 128


def test_the_bias_is_kept_in_the_state_and_takes_no_gradient(make: Callable[..., MoE]) -> None:
    layer = make("deepseek", d_model=8, d_ff=4, num_experts=4)
    assert "router.bias" in layer.state_dict()
    assert "router.bias" not in dict(layer.named_parameters())
    layer(torch.randn(1, 4, 8, dtype=torch.float64)).sum().backward()
    assert layer.router.bias is not None
    assert not layer.router.bias.requires_grad


def test_shared_experts_are_one_network_that_every_token_passes(make: Callable[..., MoE]) -> None:
    layer = make("deepseek", d_model=8, d_ff=4, num_experts=4, num_shared_experts=3)
    assert layer.shared is not None
    assert layer.shared.w1.shape == (1, 8, 12)
    x = torch.randn(2, 4, 8, dtype=torch.float64)
    decision = layer.route(x)
    routed = decision.combine(layer.experts(decision.dispatch(x)))
    torch.testing.assert_close(layer(x) - routed, layer.shared(x.reshape(1, 8, 8)).view(2, 4, 8))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"expert_groups": 3}, "expert_groups must divide num_experts = 8, got 3"),
        ({"expert_groups": 2, "top_groups": 3}, "top_groups must be at most expert_groups = 2, got 3"),
        ({"expert_groups": 4, "top_k": 3}, "top_k must be at most the 2 experts of top_groups = 1, got 3"),
        ({"score": "relu"}, "score must be one of sigmoid, softmax, got 'relu'"),
        ({"route_scale": 0}, "route_scale must be a finite number above 0, got 0"),
        ({"num_shared_experts": -1}, "num_shared_experts must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_axes_are_refused_in_one_sentence(axes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        softmoe_ref.build("deepseek", d_model=4, d_ff=4, num_experts=8, **axes)


def test_a_bad_update_of_the_bias_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^load must have shape \(6,\), got \(5,\)$"):
        gate(score="sigmoid").update_bias(torch.zeros(5), rate=0.1)
    with pytest.raises(ValueError, match=r"^rate must be a finite number above 0, got 0$"):
        gate(score="sigmoid").update_bias(torch.zeros(6), rate=0)
    with pytest.raises(ValueError, match=r"^score must be sigmoid for a router with a bias, got 'softmax'$"):
        gate(score="softmax").update_bias(torch.zeros(6), rate=0.1)


def gate(score: str) -> DeepSeekRouter:
    return DeepSeekRouter(4, 6, top_k=2, expert_groups=2, top_groups=1, score=score, route_scale=1.0, backend="grouped")


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_that_are_all_0_in_float32_still_weigh_the_experts(backend: str, make: Callable[..., MoE]) -> None:
    layer = make("deepseek", d_model=8, d_ff=12, num_experts=4, top_k=4, backend=backend, dtype=torch.float32)
    x = torch.randn(2, 9, 8)
    x[..., 0] = 10
    with torch.no_grad():
        layer.router.weight[0] = -20.0  # logits are about -200, their sigmoids 1e-87
    assert not layer.route(x).importance().any()
    truth = oracle.forward(layer, x).y
    torch.testing.assert_close(layer(x).double(), truth, rtol=0, atol=1e-5 * float(truth.abs().max()))

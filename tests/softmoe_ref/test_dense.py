from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

import softmoe_ref
from bench import costs
from softmoe_ref import MoE
from softmoe_ref.dense import matched_width


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


SHAPES = [(8, 12, 4, 1), (8, 12, 4, 4), (1, 1, 1, 1), (3, 2, 64, 2), (384, 1536, 32, 2), (5, 7, 11, 3)]


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize(("d_model", "d_ff", "experts", "top_k"), SHAPES)
def test_controls_have_a_sparse_layer_s_parameters_to_within_half_a_hidden_unit(
    d_model: int, d_ff: int, experts: int, top_k: int, activation: str
) -> None:
    axes = {"d_model": d_model, "d_ff": d_ff, "num_experts": experts, "activation": activation, "device": "meta"}
    sparse = softmoe_ref.build("token_choice", **axes, top_k=top_k)
    counted = {name: p.numel() for name, p in sparse.named_parameters()}
    in_experts = sum(count for name, count in counted.items() if name.startswith("experts"))
    targets = {
        "dense_active": in_experts // experts * top_k + counted["router.weight"],
        "dense_total": sum(counted.values()),
    }
    a_unit = 3 * d_model if activation == "swiglu" else 2 * d_model + 1
    for name, target in targets.items():
        found = softmoe_ref.build(name, **axes, **({"top_k": top_k} if name == "dense_active" else {}))
        assert abs(sum(p.numel() for p in found.parameters()) - target) <= a_unit / 2


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize(("d_model", "d_ff", "experts", "top_k"), SHAPES)
def test_the_harness_derives_the_same_width(d_model: int, d_ff: int, experts: int, top_k: int, activation: str) -> None:
    axes = {"d_model": d_model, "d_ff": d_ff, "num_experts": experts, "activation": activation}
    for counted in (top_k, experts):
        ours = matched_width(d_model, d_ff, experts, counted=counted, activation=activation)
        assert costs.matched_width(axes, counted) == ours


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize("name", ["dense_active", "dense_total"])
def test_controls_equal_the_oracle(
    name: str, activation: str, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make(name, d_model=8, d_ff=6, num_experts=3, activation=activation), 2, 5)


def test_a_control_that_counts_every_expert_is_the_total_one() -> None:
    axes = {"d_model": 8, "d_ff": 12, "num_experts": 3}
    active = softmoe_ref.build("dense_active", **axes, top_k=3)
    assert (
        active.experts.d_ff == softmoe_ref.build("dense_total", **axes).experts.d_ff == 38
    )  # 36 + (2 * 8 + 8 * 3) / 17


@pytest.mark.parametrize(
    ("name", "axes", "message"),
    [
        ("dense_active", {"top_k": 5}, "^top_k must be at most num_experts = 4, got 5$"),
        ("dense_active", {"top_k": 0}, "^top_k must be a whole number of at least 1, got 0$"),
        ("dense_active", {"num_experts": 0}, "^num_experts must be a whole number of at least 1, got 0$"),
        ("dense_total", {"num_experts": 0}, "^num_experts must be a whole number of at least 1, got 0$"),
        ("dense_total", {"d_ff": 0}, "^d_ff must be a whole number of at least 1, got 0$"),
    ],
)
def test_controls_refuse_bad_axes(name: str, axes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        softmoe_ref.build(name, **{"d_model": 8, "d_ff": 12, "num_experts": 4, **axes})

from collections.abc import Callable
from typing import Any

import pytest
import torch

from softmoe_ref import MoE

FILES = [
    "ec_B2_m16_d32_E4_c1.0",
    "ec_B2_m16_d32_E4_c2.0",
    "ec_B2_m20_d32_E8_c1.0_bankers_round",
    "ec_B2_m20_d32_E8_c1.0_ceil_mult4",
]
BACKENDS = ("einsum", "indexed")
SIZES = {"d_model": 8, "d_ff": 12, "num_experts": 4}


def from_file(vectors: Any, backend: str) -> MoE:  # noqa: ANN401 - the conftest's Golden
    meta = vectors.meta
    layer = vectors.layer(
        "expert_choice",
        capacity_factor=meta["capacity_factor"],
        group_size=meta["group_size"],
        capacity_rounding="ceil4" if meta["multiple_of"] == 4 else "round",
        backend=backend,
    )
    assert isinstance(layer, MoE)
    return layer


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stem", FILES)
def test_everything_equals_the_authors_code(
    stem: str, backend: str, golden: Callable[..., Any], run: Callable[..., Any]
) -> None:
    vectors = golden(stem)
    layer = from_file(vectors, backend)
    x = vectors["x"]
    decision: Any = layer.route(x)
    facts = decision.assignments
    assert facts.capacity == vectors.meta["capacity"]
    first_G11 = torch.arange(facts.num_groups).view(-1, 1, 1) * vectors.meta["group_size"]
    assert torch.equal(facts.token - first_G11, vectors["router/top_item_index"].long())
    torch.testing.assert_close(facts.gate, vectors["router/top_item_gate"], rtol=0, atol=1e-6)
    torch.testing.assert_close(facts.gates, vectors["router/gates_softmax"], rtol=0, atol=1e-6)
    processing = vectors["router/num_experts_processing_token"].flatten()
    assert torch.equal(decision.assigned().sum(1), processing.long())
    assert round(decision.unrouted_rate() * facts.num_tokens) == vectors.meta["dropped_tokens"]
    rows_EGPD = decision.dispatch(x).view(facts.num_experts, facts.num_groups, -1, x.shape[-1])
    assert torch.equal(rows_EGPD, vectors["expert_in"].transpose(0, 1))
    y, gradients = run(layer, x, vectors["cotangent"])
    torch.testing.assert_close(y, vectors["y"], rtol=0, atol=2e-6)
    assert torch.equal((y == 0).all(-1).flatten(), processing == 0)
    for name, expected in vectors.gradients("grad").items():
        torch.testing.assert_close(gradients[name], expected, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("stem", FILES)
def test_one_hot_weights_equal_the_authors_code(stem: str, golden: Callable[..., Any]) -> None:
    vectors = golden(stem)
    weights = from_file(vectors, "einsum").route(vectors["x"]).weights
    assert torch.equal(weights.dispatch_weights.bool(), vectors["router/dispatch_weights"])
    torch.testing.assert_close(weights.combine_weights, vectors["router/combine_weights"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("stem", FILES)
def test_the_oracle_equals_the_authors_code(
    stem: str, golden: Callable[..., Any], run_oracle: Callable[..., Any]
) -> None:
    vectors = golden(stem)
    truth, gradients = run_oracle(from_file(vectors, "einsum"), vectors["x"], vectors["cotangent"])
    assert torch.equal(truth.assigned, vectors["router/dispatch_weights"].any(-1).flatten(0, 1))
    torch.testing.assert_close(truth.y.float(), vectors["y"], rtol=0, atol=2e-6)
    for name, expected in vectors.gradients("grad").items():
        torch.testing.assert_close(gradients[name].float(), expected, rtol=0, atol=1e-5)


CASES: list[dict[str, object]] = [
    {"num_experts": 1, "capacity_factor": 1.0},
    {"num_experts": 2, "capacity_factor": 0.4},
    {"num_experts": 4, "capacity_factor": 0.5},
    {"num_experts": 4, "capacity_factor": 4.0},  # E: every expert takes every token
    {"num_experts": 5, "capacity_factor": 2.0},
    {"num_experts": 3, "capacity_factor": 1.0, "group_size": 3},
    {"num_experts": 3, "capacity_factor": 1.5, "group_size": 18},
    {"num_experts": 16, "capacity_factor": 0.3, "capacity_rounding": "ceil4"},
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axes", CASES, ids=str)
def test_value_and_every_gradient_equal_the_oracle(
    axes: dict[str, object], backend: str, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make("expert_choice", d_model=7, d_ff=5, backend=backend, **axes), 2, 9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_token_that_no_expert_took_has_output_exactly_zero(backend: str, make: Callable[..., MoE]) -> None:
    layer = make("expert_choice", **SIZES, capacity_factor=0.5, backend=backend)
    x = torch.randn(3, 16, 8, dtype=torch.float64)
    lost = ~layer.route(x).assigned().any(1)
    assert 0 < int(lost.sum()) < 48
    y = layer(x).flatten(0, 1)
    assert torch.all(y[lost] == 0)
    assert torch.all(y[~lost].abs().sum(-1) > 0)


def test_every_expert_is_full_and_nothing_counts_as_refused(make: Callable[..., MoE]) -> None:
    x = torch.randn(3, 16, 8, dtype=torch.float64)
    decision = make("expert_choice", **SIZES, capacity_factor=0.5).route(x)
    assert decision.load().tolist() == [6.0] * 4  # 3 groups * round(16 * 0.5 / 4)
    assert decision.drop_rate() == 0.0
    assert decision.unrouted_rate() > 0
    assert float(decision.importance().detach().sum()) == pytest.approx(48)


def test_the_router_has_a_gradient(make: Callable[..., MoE], run: Callable[..., Any]) -> None:
    x = torch.randn(2, 8, 8, dtype=torch.float64)
    _, gradients = run(make("expert_choice", **SIZES), x, torch.ones_like(x))
    assert float(gradients["router.weight"].abs().max()) > 1e-2


def test_more_places_than_tokens_are_refused(make: Callable[..., MoE]) -> None:
    layer = make("expert_choice", **SIZES, capacity_factor=5.0)
    message = r"^capacity_factor must leave an expert at most the group's 8 tokens, got 5.0: 10 places with 4 experts$"
    with pytest.raises(ValueError, match=message):
        layer(torch.zeros(2, 8, 8, dtype=torch.float64))

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import softmoe_ref
from softmoe_ref import MoE
from softmoe_ref.token_choice import best_experts, line_up
from softmoe_ref.transport import OneHot

FILES = [
    *(f"tc_B2_m16_d32_E4_K{k}_c{c}_{bpr}" for k in (1, 2) for c in ("1.0", "1.5") for bpr in ("bpr", "nobpr")),
    "tc_B8_m16_d32_E4_K2_c1.0_bpr_GmodE0",
    "tc_hard_B4_m32_d32_E8_K1_c1.5_nobpr",
    "tc_hard_B4_m32_d32_E8_K2_c1.5_bpr",
]
# The gradient of this one array, up to 14.9, is stored with a rounding error of 1.2e-5 (against float64), and ours has
# 1.1e-5: not even an exact layer would come within 1e-5 of it.
ROUNDED = {("tc_hard_B4_m32_d32_E8_K2_c1.5_bpr", "router.weight"): 3e-5}
BACKENDS = ("einsum", "indexed", "grouped", "loop")
SIZES = {"d_model": 8, "d_ff": 12, "num_experts": 4}


def from_file(vectors: Any, backend: str) -> MoE:  # noqa: ANN401 - the conftest's Golden
    meta = vectors.meta
    layer = vectors.layer(
        "token_choice",
        top_k=meta["K"],
        capacity_factor=meta["capacity_factor"],
        group_size=meta["group_size"],
        batch_priority=meta["batch_priority"],
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
    capacity = vectors.meta["capacity"]
    assert facts.capacity == capacity
    assert torch.equal(facts.expert, vectors["router/topk_expert_index"].long())
    assert torch.equal(facts.place, vectors["router/topk_buffer_index"].long())
    assert torch.equal(facts.kept, vectors["router/topk_buffer_index"] < capacity)
    processing = vectors["router/num_experts_processing_token"]
    assert torch.equal(decision.assigned().sum(1), processing.flatten().long())
    assert round(decision.drop_rate() * facts.kept.numel()) == vectors.meta["dropped_assignments"]
    assert round(decision.unrouted_rate() * facts.num_tokens) == vectors.meta["dropped_tokens"]
    torch.testing.assert_close(facts.gates, vectors["router/gates_softmax"], rtol=0, atol=1e-6)
    torch.testing.assert_close(facts.gate, vectors["router/topk_gates"], rtol=0, atol=1e-6)
    y, gradients = run(layer, x, vectors["cotangent"])
    torch.testing.assert_close(y, vectors["y"], rtol=0, atol=2e-6)
    assert torch.equal((y == 0).all(-1).flatten(), processing.flatten() == 0)
    for name, expected in vectors.gradients("grad").items():
        tolerance = ROUNDED.get((stem, name), 1e-5)
        torch.testing.assert_close(gradients[name], expected, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("stem", FILES)
def test_one_hot_weights_and_buffers_equal_the_authors_code(stem: str, golden: Callable[..., Any]) -> None:
    vectors = golden(stem)
    one_hot: Any = from_file(vectors, "einsum").route(vectors["x"])
    assert isinstance(one_hot, OneHot)
    assert torch.equal(one_hot.weights.dispatch_weights.bool(), vectors["router/dispatch_weights"])
    torch.testing.assert_close(one_hot.weights.combine_weights, vectors["router/combine_weights"], rtol=0, atol=1e-6)
    expected_EGPD = vectors["expert_in"].transpose(0, 1)
    for backend in ("einsum", "indexed"):
        rows = from_file(vectors, backend).route(vectors["x"]).dispatch(vectors["x"])
        assert torch.equal(rows.view_as(expected_EGPD), expected_EGPD)


@pytest.mark.parametrize("stem", FILES)
def test_the_oracle_equals_the_authors_code(
    stem: str, golden: Callable[..., Any], run_oracle: Callable[..., Any]
) -> None:
    vectors = golden(stem)
    truth, gradients = run_oracle(from_file(vectors, "einsum"), vectors["x"], vectors["cotangent"])
    expected = vectors["router/dispatch_weights"].any(-1).flatten(0, 1)
    assert torch.equal(truth.assigned, expected)
    torch.testing.assert_close(truth.y.float(), vectors["y"], rtol=0, atol=2e-6)
    for name, expected_gradient in vectors.gradients("grad").items():
        tolerance = ROUNDED.get((stem, name), 1e-5)
        torch.testing.assert_close(gradients[name].float(), expected_gradient, rtol=0, atol=tolerance)


CASES: list[dict[str, object]] = [
    {"num_experts": 1, "top_k": 1, "capacity_factor": None},
    {"num_experts": 1, "top_k": 1, "capacity_factor": 0.5, "batch_priority": True},
    {"num_experts": 5, "top_k": 5, "capacity_factor": 0.6},
    {"num_experts": 5, "top_k": 5, "capacity_factor": None, "renormalize": True},
    {"num_experts": 4, "top_k": 1, "capacity_factor": 1.0},
    {"num_experts": 4, "top_k": 1, "capacity_factor": 0.5, "batch_priority": True},
    {"num_experts": 4, "top_k": 2, "capacity_factor": None},
    {"num_experts": 4, "top_k": 2, "capacity_factor": 2.0},  # E / K: nothing can be dropped
    {"num_experts": 4, "top_k": 2, "capacity_factor": 9.0},  # more places than tokens
    {"num_experts": 4, "top_k": 2, "capacity_factor": 0.7, "renormalize": True, "batch_priority": True},
    {"num_experts": 4, "top_k": 3, "capacity_factor": 0.8, "group_size": 3},
    {"num_experts": 4, "top_k": 2, "capacity_factor": 0.8, "group_size": 18, "batch_priority": True},
    {"num_experts": 3, "top_k": 2, "capacity_factor": 0.5, "group_size": 6, "renormalize": True},
    {"num_experts": 4, "top_k": 2, "capacity_factor": 0.3, "capacity_rounding": "ceil4"},
    {"num_experts": 16, "top_k": 1, "capacity_factor": None, "group_size": 2},  # experts without any token
    {"num_experts": 16, "top_k": 2, "capacity_factor": 1.0},
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axes", CASES, ids=str)
def test_value_and_every_gradient_equal_the_oracle(
    axes: dict[str, object], backend: str, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make("token_choice", d_model=7, d_ff=5, backend=backend, **axes), 2, 9)


@pytest.mark.parametrize("axes", CASES, ids=str)
def test_all_backends_agree_in_float32_too(
    axes: dict[str, object], make: Callable[..., MoE], run: Callable[..., Any]
) -> None:
    x, cotangent = torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(5))
    layers = [
        make("token_choice", d_model=8, d_ff=12, backend=backend, dtype=torch.float32, **axes) for backend in BACKENDS
    ]
    (y, gradients), *others = [run(layer, x, cotangent) for layer in layers]
    for other_y, other_gradients in others:
        torch.testing.assert_close(other_y, y, rtol=1e-5, atol=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(other_gradients[name], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_tokens_may_want_the_same_expert(backend: str, make: Callable[..., MoE]) -> None:
    for factor in (None, 1.0):
        layer = make("token_choice", **SIZES, top_k=1, capacity_factor=factor, backend=backend)
        with torch.no_grad():
            layer.router.weight.zero_()  # equal gates: the lowest number is chosen
        x = torch.ones(2, 8, 8, dtype=torch.float64)
        assert layer.route(x).load().tolist() == [16 if factor is None else 4, 0, 0, 0]
        assert torch.isfinite(layer(x)).all()
        layer(x).sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in layer.parameters() if p.grad is not None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dropped_tokens_output_is_exactly_zero_and_its_gradient_too(
    backend: str, dtype: torch.dtype, make: Callable[..., MoE], run: Callable[..., Any]
) -> None:
    layer = make("token_choice", **SIZES, top_k=2, capacity_factor=0.25, backend=backend, dtype=dtype)
    x = torch.randn(3, 16, 8, generator=torch.Generator().manual_seed(0), dtype=dtype)
    lost = ~layer.route(x).assigned().any(1)
    assert 0 < int(lost.sum()) < 48
    assert layer.route(x).unrouted_rate() == pytest.approx(float(lost.double().mean()))
    y, gradients = run(layer, x, torch.ones_like(x))
    assert torch.all(y.flatten(0, 1)[lost] == 0)
    assert torch.all(gradients["x"].flatten(0, 1)[lost] == 0)
    assert torch.all(y.flatten(0, 1)[~lost].abs().sum(-1) > 0)


@pytest.mark.parametrize(("num_experts", "top_k"), [(4, 1), (4, 2), (6, 3), (1, 1)])
def test_nothing_is_dropped_at_capacity_factor_experts_over_choices(
    num_experts: int, top_k: int, make: Callable[..., MoE]
) -> None:
    axes = {"d_model": 8, "d_ff": 12, "num_experts": num_experts, "top_k": top_k}
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    layer = make("token_choice", **axes, capacity_factor=num_experts / top_k)
    assert layer.route(x).drop_rate() == 0.0
    torch.testing.assert_close(layer(x), make("token_choice", **axes)(x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_capacity_is_never_exceeded_in_any_group(backend: str, make: Callable[..., MoE]) -> None:
    layer = make("token_choice", **SIZES, top_k=2, capacity_factor=0.5, group_size=8, backend=backend)
    x = torch.randn(3, 16, 8, dtype=torch.float64)
    decision = layer.route(x)
    load_GE = decision.assigned().view(6, 8, 4).sum(1)
    assert int(load_GE.max()) == 2  # round(8 * 2 * 0.5 / 4), reached
    assert torch.equal(decision.load(), load_GE.sum(0).double())
    assert decision.drop_rate() > 0


def test_the_best_experts_come_best_first_and_equals_by_number() -> None:
    gates_GNE = torch.tensor([[[0.2, 0.4, 0.4, 0.0], [0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.0, 1.0]]])
    assert best_experts(gates_GNE, 1).tolist() == [[[1], [0], [3]]]
    assert best_experts(gates_GNE, 3).tolist() == [[[1, 2, 0], [0, 1, 2], [3, 0, 1]]]
    assert gates_GNE[0, 0].tolist() == pytest.approx([0.2, 0.4, 0.4, 0.0])  # untouched


def test_first_choices_come_before_second_ones_and_priority_reorders_tokens() -> None:
    expert_GNK = torch.tensor([[[0, 1], [1, 0], [0, 1]]])
    assert line_up(expert_GNK, 2, None).tolist() == [[[0, 1], [0, 2], [1, 2]]]
    priority_GN = torch.tensor([[0.5, 0.6, 0.9]])
    assert line_up(expert_GNK, 2, priority_GN).tolist() == [[[1, 2], [0, 2], [0, 1]]]
    equal_GN = torch.tensor([[0.5, 0.5, 0.5]])
    assert torch.equal(line_up(expert_GNK, 2, equal_GN), line_up(expert_GNK, 2, None))


def test_batch_priority_keeps_the_surest_tokens(make: Callable[..., MoE]) -> None:
    axes = {**SIZES, "top_k": 1, "capacity_factor": 0.5}
    x = torch.randn(1, 32, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = {}
    for priority in (False, True):
        facts: Any = make("token_choice", **axes, batch_priority=priority).route(x)
        facts = facts.assignments
        kept[priority] = float(facts.gate.detach()[facts.kept].mean())
        for e in range(4):
            mine = facts.expert == e
            refused = facts.gate.detach()[mine & ~facts.kept]
            if priority and len(refused):
                assert float(refused.max()) <= float(facts.gate.detach()[mine & facts.kept].min())
    assert kept[True] > kept[False]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gate_of_a_single_choice_has_a_gradient_unless_renormalised(
    backend: str, make: Callable[..., MoE], run: Callable[..., Any]
) -> None:
    x = torch.randn(2, 8, 8, dtype=torch.float64)
    for renormalize in (False, True):
        layer = make("token_choice", **SIZES, top_k=1, backend=backend, renormalize=renormalize)
        _, gradients = run(layer, x, torch.ones_like(x))
        largest = float(gradients["router.weight"].abs().max())
        assert largest < 1e-12 if renormalize else largest > 1e-2


def test_gates_are_the_softmax_over_all_experts_or_sum_to_one(make: Callable[..., MoE]) -> None:
    x = torch.randn(2, 8, 8, dtype=torch.float64)
    for renormalize in (False, True):
        layer = make("token_choice", **SIZES, top_k=2, capacity_factor=0.5, renormalize=renormalize)
        facts: Any = layer.route(x)
        total: Tensor = facts.assignments.gate.sum(-1).detach()
        assert bool((total > 1 - 1e-9).all()) == renormalize
        torch.testing.assert_close(
            facts.importance(), (x @ layer.router.weight).softmax(-1).sum((0, 1)), rtol=0, atol=1e-12
        )


def test_groups_that_do_not_come_out_even_are_refused(make: Callable[..., MoE]) -> None:
    layer = make("token_choice", **SIZES, group_size=7)
    with pytest.raises(ValueError, match=r"^group_size must divide the 2 \* 8 = 16 tokens, got 7$"):
        layer(torch.zeros(2, 8, 8, dtype=torch.float64))


def test_a_capacity_that_leaves_no_place_is_refused() -> None:
    layer = softmoe_ref.build("token_choice", **SIZES, capacity_factor=0.1)
    with pytest.raises(ValueError, match=r"^capacity_factor must leave at least one place per expert, got 0.1: "):
        layer(torch.zeros(2, 8, 8))


def test_the_padded_buffer_of_a_dropless_layer_is_as_long_as_the_fullest_expert_needs(
    make: Callable[..., MoE],
) -> None:
    layer = make("token_choice", **SIZES, top_k=2, backend="indexed")
    x = torch.randn(3, 8, 8, dtype=torch.float64)
    decision = layer.route(x)
    assert decision.dispatch(x).shape == (4, int(decision.load().max()), 8)


def test_an_expert_never_has_more_places_than_a_group_has_tokens(make: Callable[..., MoE]) -> None:
    decision: Any = make("token_choice", **SIZES, top_k=2, capacity_factor=50.0, backend="indexed").route(
        torch.randn(3, 8, 8, dtype=torch.float64)
    )
    assert decision.assignments.capacity == 8
    assert decision.dispatch(torch.randn(3, 8, 8, dtype=torch.float64)).shape == (4, 24, 8)

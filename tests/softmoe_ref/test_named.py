"""Switch, GShard, V-MoE and Mixtral: tokens choice as their papers fix it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import softmoe_ref
from softmoe_ref import MoE

BACKENDS = ("einsum", "indexed", "grouped", "loop")
SIZES = {"d_model": 8, "d_ff": 12, "num_experts": 4}
NAMES = ("switch", "gshard", "vmoe", "mixtral")
CASES: list[tuple[str, dict[str, object]]] = [
    ("switch", {"num_experts": 4}),
    ("switch", {"num_experts": 4, "capacity_factor": 0.5, "group_size": 6}),
    ("switch", {"num_experts": 3, "capacity_factor": None, "activation": "swiglu"}),
    ("switch", {"num_experts": 1}),
    ("gshard", {"num_experts": 4}),
    ("gshard", {"num_experts": 4, "capacity_factor": 0.5, "group_size": 6}),
    ("gshard", {"num_experts": 2, "capacity_factor": None, "activation": "swiglu"}),
    ("vmoe", {"num_experts": 4}),
    ("vmoe", {"num_experts": 4, "capacity_factor": 0.3, "batch_priority": True}),
    ("vmoe", {"num_experts": 5, "top_k": 1, "capacity_factor": 0.6, "group_size": 18, "batch_priority": True}),
    ("vmoe", {"num_experts": 3, "top_k": 3, "capacity_factor": None}),
    ("mixtral", {"num_experts": 2}),
    ("mixtral", {"num_experts": 5}),
]


def tokens(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def facts_of(layer: MoE, x: Tensor) -> Any:  # noqa: ANN401 - the assignments of a transport
    return layer.route(x).assignments


# value and gradients


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "axes"), CASES, ids=str)
def test_value_and_every_gradient_equal_the_oracle(
    name: str, axes: dict[str, object], backend: str, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make(name, d_model=7, d_ff=5, backend=backend, **axes).eval(), 2, 9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_gradient_passes_gradcheck(name: str, backend: str, make: Callable[..., MoE]) -> None:
    layer = make(name, d_model=3, d_ff=2, num_experts=4, backend=backend).eval()
    names, leaves = zip(*layer.named_parameters(), strict=True)

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (tokens(2, 4, 3).requires_grad_(), *leaves), fast_mode=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_training_is_finite_in_the_formats_of_training(
    name: str, backend: str, dtype: torch.dtype, make: Callable[..., MoE]
) -> None:
    layer = make(name, **SIZES, backend=backend, dtype=dtype).train()
    x = tokens(2, 8, 8).to(dtype)
    decision = layer.route(x)
    y = layer.apply_decision(decision, x)
    assert (y.dtype, y.shape) == (dtype, x.shape)
    (y.sum() + sum(decision.losses().values())).backward()
    for key, parameter in layer.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_no_call_waits_for_the_device(name: str, training: bool) -> None:
    # meta tensors know shapes, not values: reading a value back raises
    sizes = SIZES | {"d_ff": 16}  # grouped products need rows of a multiple of 16 bytes
    layer = softmoe_ref.build(name, **sizes, backend="grouped", device="meta", dtype=torch.bfloat16).train(training)
    x = torch.empty(3, 8, 8, device="meta", dtype=torch.bfloat16)
    y, losses = layer(x), layer.losses(x)
    assert (y.shape, y.dtype) == (x.shape, torch.bfloat16)
    assert all((loss.shape, loss.device.type) == ((), "meta") for loss in losses.values())


# what each paper fixes


def test_the_papers_choices(make: Callable[..., MoE]) -> None:
    fixed = {
        name: tuple(
            getattr(make(name, **SIZES).router, axis)
            for axis in ("top_k", "renormalize", "capacity_factor", "capacity_rounding", "noise_std", "jitter")
        )
        for name in NAMES
    }
    assert fixed == {
        "switch": (1, False, 1.25, "ceil", 0.0, 0.01),
        "gshard": (2, True, 1.0, "ceil", 0.0, 0.0),
        "vmoe": (2, False, 1.05, "ceil4", 1.0, 0.0),
        "mixtral": (2, True, None, "ceil", 0.0, 0.0),
    }


@pytest.mark.parametrize(
    ("name", "evaluating", "training"),
    [
        ("switch", ["load_balance"], ["load_balance"]),
        ("gshard", ["gshard"], ["gshard"]),
        ("vmoe", ["importance"], ["importance", "load"]),
        ("mixtral", ["load_balance"], ["load_balance"]),
    ],
)
def test_the_papers_losses_reach_the_routers_weight(
    name: str, evaluating: list[str], training: list[str], make: Callable[..., MoE]
) -> None:
    layer = make(name, **SIZES)
    for mode, names in ((False, evaluating), (True, training)):
        found = layer.train(mode).losses(tokens(2, 8, 8))
        assert list(found) == names
        for loss in found.values():
            (gradient,) = torch.autograd.grad(loss, layer.router.weight, retain_graph=True)
            assert float(gradient.abs().max()) > 1e-4


def test_mixtral_has_swiglu_experts_without_biases(make: Callable[..., MoE]) -> None:
    shapes = {key: tuple(value.shape) for key, value in make("mixtral", **SIZES).state_dict().items()}
    assert shapes == {"router.weight": (8, 4), "experts.w1": (4, 8, 24), "experts.w2": (4, 12, 8)}


def test_mixtrals_gates_are_the_softmax_over_the_two_largest_logits(make: Callable[..., MoE]) -> None:
    layer, x = make("mixtral", **SIZES), tokens(2, 8, 8)
    facts = facts_of(layer, x)
    top = (x @ layer.router.weight).topk(2, dim=2)
    assert torch.equal(facts.expert, top.indices)
    torch.testing.assert_close(facts.gate, top.values.softmax(2), rtol=0, atol=1e-14)


def test_switch_weighs_by_the_softmax_over_all_experts(make: Callable[..., MoE]) -> None:
    layer, x = make("switch", **SIZES, capacity_factor=None).eval(), tokens(2, 8, 8)
    facts = facts_of(layer, x)
    best = (x @ layer.router.weight).softmax(2).max(2, keepdim=True)
    assert torch.equal(facts.expert, best.indices)
    torch.testing.assert_close(facts.gate, best.values, rtol=0, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("training", [True, False])
def test_switchs_router_learns_from_the_output_although_it_chooses_only_one(
    backend: str, training: bool, make: Callable[..., MoE]
) -> None:
    layer = make("switch", **SIZES, backend=backend).train(training)
    layer(tokens(2, 8, 8)).square().sum().backward()
    gradient = layer.router.weight.grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 1e-2
    assert bool((gradient.abs().amax(0) > 0).all())  # every expert's column


@pytest.mark.parametrize(
    ("name", "places"),
    [("switch", 4), ("gshard", 5), ("vmoe", 8)],  # 10 tokens: ceil(3.125), ceil(5), 5.25 up to a multiple of 4
)
def test_places_by_hand(name: str, places: int, make: Callable[..., MoE]) -> None:
    assert facts_of(make(name, **SIZES), tokens(2, 10, 8)).capacity == places


# dropping


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(("switch", "gshard", "vmoe")),
    backend=st.sampled_from(BACKENDS),
    num_experts=st.integers(2, 6),
    group_size=st.sampled_from((3, 4, 6, 12, 24)),
    capacity_factor=st.floats(0.05, 3.0),
    training=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_no_expert_takes_more_than_its_capacity_in_any_group(
    name: str,
    backend: str,
    num_experts: int,
    group_size: int,
    capacity_factor: float,
    training: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    layer = softmoe_ref.build(
        name,
        d_model=3,
        d_ff=2,
        num_experts=num_experts,
        group_size=group_size,
        capacity_factor=capacity_factor,
        backend=backend,
    ).train(training)
    decision = layer.route(torch.randn(2, 12, 3))
    facts = decision.assignments
    load_GE = decision.assigned().view(24 // group_size, group_size, num_experts).sum(1)
    assert 1 <= facts.capacity <= group_size
    assert int(load_GE.max()) <= facts.capacity
    wanted_GE = torch.stack([torch.bincount(row, minlength=num_experts) for row in facts.expert.flatten(1)])
    assert torch.equal(load_GE, wanted_GE.clamp(max=facts.capacity))  # and not fewer than there is room for
    assert decision.drop_rate() == pytest.approx(1 - float(load_GE.sum() / wanted_GE.sum()))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(1, 20), st.sampled_from(BACKENDS), st.integers(0, 1000))
def test_mixtral_drops_nothing_whatever_the_load(num_experts: int, length: int, backend: str, seed: int) -> None:
    torch.manual_seed(seed)
    layer = softmoe_ref.build("mixtral", d_model=4, d_ff=3, num_experts=num_experts, backend=backend)
    decision = layer.route(torch.randn(2, length, 4) + 5)  # tokens alike, so that they want the same experts
    assert decision.assigned().sum(1).tolist() == [2] * (2 * length)
    assert (decision.drop_rate(), decision.unrouted_rate()) == (0.0, 0.0)
    torch.testing.assert_close(decision.assignments.gate.sum(2), torch.ones(2, length))


def test_gshards_lost_gate_is_not_handed_to_the_other_choice(make: Callable[..., MoE]) -> None:
    layer = make("gshard", **SIZES, capacity_factor=0.5)
    facts = facts_of(layer, tokens(2, 8, 8))
    torch.testing.assert_close(facts.gate.sum(2), torch.ones(2, 8, dtype=torch.float64))
    kept = (facts.gate * facts.kept).detach().sum(2).flatten()
    partly = facts.kept.any(2).flatten() & ~facts.kept.all(2).flatten()
    assert int(partly.sum()) > 0
    assert float(kept[partly].max()) < 1


@pytest.mark.parametrize("name", ["gshard", "mixtral"])
def test_two_choices_need_two_experts(name: str) -> None:
    with pytest.raises(ValueError, match=r"^top_k must be at most num_experts = 1, got 2$"):
        softmoe_ref.build(name, d_model=8, d_ff=12, num_experts=1)

from collections.abc import Callable
from typing import Any

import pytest
import torch

import softmoe_ref
from softmoe_ref import MoE, Weights
from softmoe_ref import experts as experts_module

SIZES = {"d_model": 8, "d_ff": 16}
EVERY = [
    ("dense", {}),
    ("soft", {"num_experts": 4, "slots_per_expert": 2, "backend": "einsum"}),
    ("soft", {"num_experts": 4, "slots_per_expert": 2, "backend": "fused"}),
    *(
        ("token_choice", {"num_experts": 4, "top_k": 2, "capacity_factor": factor, "backend": backend})
        for backend in ("einsum", "indexed", "grouped", "loop")
        for factor in (None, 1.0)
    ),
    ("expert_choice", {"num_experts": 4, "backend": "einsum"}),
    ("expert_choice", {"num_experts": 4, "backend": "indexed"}),
    ("smear", {"num_experts": 4}),
    *(("peer", {"num_experts": 16, "top_k": 2, "backend": backend}) for backend in ("einsum", "indexed", "bag")),
    *(
        (name, {"num_experts": 4, "slots_per_expert": 2, "backend": backend})
        for name in ("identity", "uniform", "soft_uniform", "uniform_soft")
        for backend in ("einsum", "fused")
    ),
    ("dense_active", {"num_experts": 4, "top_k": 2}),
    ("dense_total", {"num_experts": 4}),
    *(
        ("deepseek", {"num_experts": 4, "num_shared_experts": 0, "backend": backend})
        for backend in ("einsum", "indexed", "grouped", "loop")
    ),
    *(("hash_routing", {"num_experts": 4, "backend": backend}) for backend in ("einsum", "indexed", "grouped", "loop")),
    *(("remoe", {"num_experts": 4, "backend": backend}) for backend in ("einsum", "grouped", "loop")),
]
SMOOTH = [case for case in EVERY if case[0] != "hash_routing"]  # a hash jumps wherever a token moves


@pytest.mark.parametrize(("name", "axes"), EVERY)
def test_the_output_is_what_route_dispatch_experts_and_combine_give(
    name: str, axes: dict[str, object], make: Callable[..., MoE]
) -> None:
    layer = make(name, **SIZES, **axes)
    x = torch.randn(3, 8, 8, dtype=torch.float64)
    decision = layer.route(x)
    assert torch.equal(layer(x), decision.combine(layer.experts(decision.dispatch(x))))


@pytest.mark.parametrize(("name", "axes"), EVERY)
def test_evaluation_is_deterministic_and_equal_to_training_mode(
    name: str, axes: dict[str, object], make: Callable[..., MoE]
) -> None:
    layer = make(name, **SIZES, **axes)
    x = torch.randn(3, 8, 8, dtype=torch.float64)
    trained = layer.train()(x)
    assert torch.equal(layer.eval()(x), trained)
    assert torch.equal(layer(x), trained)


@pytest.mark.parametrize(("name", "axes"), EVERY)
def test_a_sequence_does_not_see_the_others(name: str, axes: dict[str, object], make: Callable[..., MoE]) -> None:
    layer = make(name, **SIZES, **axes)
    x = torch.randn(3, 8, 8, dtype=torch.float64)
    alone = torch.cat([layer(sequence.unsqueeze(0)) for sequence in x])
    torch.testing.assert_close(layer(x), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "axes"), SMOOTH)
def test_every_gradient_passes_gradcheck(name: str, axes: dict[str, object], make: Callable[..., MoE]) -> None:
    layer = make(name, d_model=3, d_ff=2, **axes)
    x = torch.randn(2, 8, 3, dtype=torch.float64, requires_grad=True)
    names, leaves = zip(*layer.named_parameters(), strict=True)

    def call(tokens: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (tokens,))

    assert torch.autograd.gradcheck(call, (x, *leaves), fast_mode=True)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(("name", "axes"), EVERY)
def test_bfloat16_stays_close_to_float32_and_keeps_its_dtype(
    name: str, axes: dict[str, object], native: bool, make: Callable[..., MoE], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experts_module, "_cpu_computes", lambda _: native)
    layer = make(name, **SIZES, **axes, dtype=torch.float32).bfloat16()
    x = torch.randn(3, 8, 8).bfloat16()
    precise = make(name, **SIZES, **axes, dtype=torch.float32)
    precise.load_state_dict(layer.state_dict())
    y, expected = layer(x), precise(x.float())
    assert y.dtype == torch.bfloat16
    assert torch.equal(layer.route(x).assigned(), precise.route(x.float()).assigned())
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.03 * float(expected.detach().abs().max()))
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.bfloat16 for p in layer.parameters())


WAITS = {
    *(("token_choice", backend, None) for backend in ("einsum", "indexed", "loop")),
    ("token_choice", "loop", 1.0),
    *((name, backend, None) for name in ("deepseek", "hash_routing") for backend in ("einsum", "indexed", "loop")),
    ("remoe", "grouped", None),
    ("remoe", "loop", None),
}


@pytest.mark.parametrize(
    ("name", "axes", "dtype"),
    [
        (name, axes, dtype)
        for name, axes in EVERY
        for dtype in (torch.float32, torch.bfloat16)
        if (axes.get("backend"), dtype) != ("grouped", torch.float32)  # torch has shapes for its bfloat16 kernel only
    ],
)
def test_off_the_cpu_no_call_waits_for_the_device_unless_its_backend_says_so(
    name: str, axes: dict[str, object], dtype: torch.dtype
) -> None:
    # meta tensors know shapes, not values, and are not on a CPU: reading a value back raises
    layer = softmoe_ref.build(name, **SIZES, **axes, device="meta", dtype=dtype)
    x = torch.empty(3, 8, 8, device="meta", dtype=dtype)
    if (name, axes.get("backend"), axes.get("capacity_factor")) in WAITS:
        with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
            layer(x)
    else:
        y = layer(x)
        assert (y.shape, y.device.type, y.dtype) == (x.shape, "meta", dtype)
        y.sum().backward()
        assert all(p.grad is not None and p.grad.shape == p.shape for p in layer.parameters())


def test_tokens_may_come_in_any_memory_layout(make: Callable[..., MoE]) -> None:
    for name, axes in EVERY:
        layer = make(name, **SIZES, **axes)
        x = torch.randn(8, 8, 3, dtype=torch.float64).permute(2, 1, 0)
        assert not x.is_contiguous()
        torch.testing.assert_close(layer(x), layer(x.contiguous()), rtol=0, atol=1e-13)


def test_a_decision_is_frozen(make: Callable[..., MoE]) -> None:
    decision: Any = make("soft", **SIZES, num_experts=2, slots_per_expert=2).route(torch.zeros(1, 4, 8).double())
    assert isinstance(decision, Weights)
    with pytest.raises(AttributeError, match="cannot assign to field 'unit_tokens'"):
        decision.unit_tokens = True

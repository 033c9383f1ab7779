from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import softmoe_ref
from softmoe_ref import MoE
from softmoe_ref.hash_routing import HashRouter, mix, signed

BACKENDS = ("grouped", "indexed", "loop", "einsum")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "axes", [{"num_experts": 1}, {"num_experts": 4}, {"num_experts": 5, "activation": "swiglu"}, {"num_experts": 40}]
)
def test_value_and_every_gradient_equal_the_oracle(
    axes: dict[str, object], backend: str, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make("hash_routing", d_model=7, d_ff=5, backend=backend, **axes), 2, 9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_experts_gradients_pass_gradcheck(backend: str, make: Callable[..., MoE]) -> None:
    layer = make("hash_routing", d_model=3, d_ff=2, num_experts=4, backend=backend)
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    names, leaves = zip(*layer.named_parameters(), strict=True)

    def call(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)


def test_there_is_nothing_to_learn_in_the_router() -> None:
    layer = softmoe_ref.build("hash_routing", d_model=8, d_ff=4, num_experts=4)
    assert not list(layer.router.parameters())
    assert not layer.router.state_dict()


@pytest.mark.parametrize("num_experts", [2, 7, 8, 64])
def test_random_tokens_spread_evenly(num_experts: int) -> None:
    count = 1000 * num_experts
    x = torch.randn(1, count, 16, generator=torch.Generator().manual_seed(0))
    load = HashRouter(16, num_experts, backend="grouped")(x).load()
    chi_square = float(((load - 1000) ** 2 / 1000).sum())
    degrees = num_experts - 1
    assert chi_square < degrees + 5 * (2 * degrees) ** 0.5


def test_tokens_that_differ_in_one_bit_or_in_order_spread_evenly_too() -> None:
    router = HashRouter(16, 8, backend="grouped")
    words = torch.ones(1, 1, 16).view(torch.int32).repeat(1, 16 * 23, 1)
    for place in range(16):
        for bit in range(23):
            words[0, place * 23 + bit, place] ^= 1 << bit
    load = router(words.view(torch.float32)).load()
    assert float(load.min()) > 20  # 46 on average
    rotations = torch.stack([torch.arange(16.0).roll(shift) for shift in range(16)]).unsqueeze(0)
    assert int((router(rotations).load() > 0).sum()) >= 5


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=4, max_size=4), st.integers(0, 2), st.integers(0, 4))
def test_a_token_goes_to_the_same_expert_whatever_stands_around_it(
    values: list[float], sequence: int, position: int
) -> None:
    router = HashRouter(4, 16, backend="grouped")
    token = torch.tensor(values)
    alone = router(token.view(1, 1, 4)).assigned()[0]
    batch = torch.randn(3, 5, 4)
    batch[sequence, position] = token
    assert torch.equal(router(batch).assigned()[sequence * 5 + position], alone)
    again = HashRouter(4, 16, backend="loop")
    assert torch.equal(again(token.view(1, 1, 4)).assigned()[0], alone)


def test_the_two_zeros_are_equal_and_number_formats_of_equal_value_too() -> None:
    router = HashRouter(4, 1024, backend="grouped")
    zeros = torch.tensor([[[0.0, 1.0, 0.0, 2.0], [-0.0, 1.0, -0.0, 2.0]]])
    first, second = router.hash(zeros)[0].tolist()
    assert first == second
    x = torch.randn(2, 8, 4).bfloat16()
    assert torch.equal(router.hash(x), router.hash(x.float()))
    assert torch.equal(router.hash(x), router.hash(x.double()))


def test_the_hash_is_what_it_was_when_results_were_stored() -> None:
    # SplitMix64 from state 0: its first two outputs, as published with the generator
    assert mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
    assert mix(2 * 0x9E3779B97F4A7C15) == 0x6E789E6AA1B965F4
    assert (signed(1), signed(2**63), signed(2**64 - 1)) == (1, -(2**63), -1)
    numbers = HashRouter(2, 8, backend="grouped").hash(torch.tensor([[[0.0, 0.0], [1.0, -2.5]]]))[0].tolist()
    assert numbers == [0, 2230264428019912591]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_is_finite_in_low_precision_and_every_gate_is_one(backend: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = softmoe_ref.build("hash_routing", d_model=16, d_ff=8, num_experts=4, backend=backend, dtype=dtype)
    x = torch.randn(2, 32, 16, dtype=dtype)
    decision = layer.route(x)
    assert torch.all(decision.assignments.gate == 1)
    assert torch.equal(decision.importance().double(), decision.load())
    assert (decision.drop_rate(), decision.unrouted_rate(), decision.losses()) == (0, 0, {})
    y = layer(x)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in layer.parameters())

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import softmoe_ref
from softmoe_ref import MoE
from softmoe_ref.peer import ProductKeyRouter, key_width

BACKENDS = ("einsum", "indexed", "bag")
SIZES = {"d_model": 6, "d_ff": 12}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("batch", "length", "experts", "top_k"),
    [(1, 1, 1, 1), (1, 3, 4, 4), (2, 5, 16, 1), (2, 5, 16, 3), (3, 4, 9, 6), (1, 7, 36, 12)],
)
def test_value_decision_and_every_gradient_equal_the_oracle(
    batch: int,
    length: int,
    experts: int,
    top_k: int,
    backend: str,
    make: Callable[..., MoE],
    agree: Callable[..., None],
) -> None:
    agree(make("peer", **SIZES, num_experts=experts, top_k=top_k, backend=backend), batch, length)


@pytest.mark.parametrize("d_model", [1, 5])
def test_an_odd_width_works_too(d_model: int, make: Callable[..., MoE], agree: Callable[..., None]) -> None:
    agree(make("peer", d_model=d_model, d_ff=4, num_experts=9, top_k=2, backend="bag"), 2, 3)


@settings(max_examples=40, deadline=None)
@given(side=st.integers(1, 6), share=st.floats(0, 1), seed=st.integers(0, 2**16))
def test_product_keys_find_the_best_experts_of_all(side: int, share: float, seed: int) -> None:
    top_k = 1 + round(share * (side**2 - 1))
    torch.manual_seed(seed)
    router = ProductKeyRouter(4, side**2, num_heads=2, top_k=top_k, dtype=torch.float64)
    x = torch.randn(1, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        decision = router(x)
        keys = torch.cat([router.keys[0].repeat_interleave(side, 0), router.keys[1].repeat(side, 1)], dim=1)
        scores = (x[0] @ router.query).view(5, 2, -1) @ keys.mT
    found, expected = scores.gather(2, decision.expert), scores.topk(top_k, dim=2).values
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(decision.gate, expected.softmax(2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_one_expert_per_head_a_token_sees_a_plain_network_of_its_own(
    backend: str, make: Callable[..., MoE]
) -> None:
    """Equation 8 of the paper."""
    layer = make("peer", d_model=6, d_ff=5, num_experts=16, top_k=1, backend=backend)
    x = torch.randn(1, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        y, picked = layer(x)[0], layer.route(x).expert.flatten(1)
        for token, experts, output in zip(x[0], picked, y, strict=True):
            hidden = functional.gelu(layer.experts.down[experts] @ token, approximate="tanh")
            torch.testing.assert_close(output, hidden @ layer.experts.up[experts], rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_heads_count_twice_in_the_output_and_once_in_the_load(backend: str, make: Callable[..., MoE]) -> None:
    one = make("peer", d_model=6, d_ff=3, num_experts=9, top_k=3, backend=backend)
    two = make("peer", d_model=6, d_ff=6, num_experts=9, top_k=3, backend=backend)
    state = one.state_dict()
    two.load_state_dict({**state, "router.query": state["router.query"].repeat(1, 2)})
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(two(x), 2 * one(x), rtol=0, atol=1e-12)
    assert torch.equal(two.route(x).load(), one.route(x).load())
    torch.testing.assert_close(two.route(x).importance(), 2 * one.route(x).importance())


def test_the_facts_of_a_decision_fit_together(make: Callable[..., MoE]) -> None:
    decision = make("peer", **SIZES, num_experts=16, top_k=4).route(torch.randn(3, 5, 6, dtype=torch.float64))
    assert decision.expert.shape == decision.gate.shape == (15, 3, 4)
    assert torch.equal(decision.load(), decision.assigned().sum(0, dtype=torch.float64))
    assert float(decision.importance().sum().detach()) == pytest.approx(15 * 3)
    assert bool((decision.importance()[decision.load() == 0] == 0).all())
    assert (decision.drop_rate(), decision.unrouted_rate(), decision.losses()) == (0.0, 0.0, {})


@pytest.mark.parametrize(("d_model", "width"), [(1, 1), (5, 3), (64, 32), (256, 128), (1024, 128)])
def test_a_key_is_half_as_wide_as_a_token_up_to_a_limit(d_model: int, width: int) -> None:
    assert key_width(d_model) == width


def test_state_dict_holds_exactly_the_agreed_names_and_shapes() -> None:
    layer = softmoe_ref.build("peer", d_model=6, d_ff=12, num_experts=16, top_k=4)
    assert {key: tuple(value.shape) for key, value in layer.state_dict().items()} == {
        "router.query": (6, 3 * 2 * 3),
        "router.keys": (2, 4, 3),
        "experts.down": (16, 6),
        "experts.up": (16, 6),
    }


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"num_experts": 8}, "^num_experts must be a square number, got 8$"),
        ({"num_experts": 4, "top_k": 6}, "^top_k must be at most num_experts = 4, got 6$"),
        ({"top_k": 5}, r"^d_ff must be a multiple of top_k = 5, since it is heads \* top_k; got 12$"),
        ({"top_k": 0}, "^top_k must be a whole number of at least 1, got 0$"),
        ({"num_experts": 0}, "^num_experts must be a whole number of at least 1, got 0$"),
        ({"backend": "loop"}, "^backend must be one of einsum, indexed, bag, got 'loop'$"),
    ],
)
def test_bad_axes_are_refused(axes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        softmoe_ref.build("peer", **{**SIZES, "num_experts": 16, "top_k": 3, **axes})

from collections.abc import Callable
from typing import Any

import pytest
import torch

import softmoe_ref
from softmoe_ref import MoE, Weights
from softmoe_ref.fixed_mixing import Averaged, OneToOne

NAMES = ("identity", "uniform", "soft_uniform", "uniform_soft")
BACKENDS = ("einsum", "fused")
FILE = "ablations_DERIVED_B2_m16_d32_E8_p2"
IN_FILE = {name: name for name in NAMES} | {"identity": "identity_contiguous"}
SIZES = {"d_model": 8, "d_ff": 12}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_output_equals_the_official_dispatcher_with_the_weights_of_the_paper(
    name: str, backend: str, golden: Callable[..., Any]
) -> None:
    vectors = golden(FILE)
    layer = vectors.layer(name, slots_per_expert=vectors.meta["p"], backend=backend)
    with torch.no_grad():
        y = layer(vectors["x"])
    torch.testing.assert_close(y, vectors[f"y/{IN_FILE[name]}"], rtol=0, atol=1.5e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_equals_the_official_dispatcher(name: str, golden: Callable[..., Any]) -> None:
    vectors = golden(FILE)
    layer = vectors.layer(name, slots_per_expert=vectors.meta["p"])
    truth = softmoe_ref.oracle.forward(layer, vectors["x"])
    torch.testing.assert_close(truth.y.float(), vectors[f"y/{IN_FILE[name]}"], rtol=0, atol=1.5e-6)


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("experts", "slots", "batch"), [(1, 1, 1), (3, 1, 2), (2, 4, 3), (5, 2, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_every_gradient_equal_the_oracle(
    name: str,
    experts: int,
    slots: int,
    batch: int,
    backend: str,
    activation: str,
    make: Callable[..., MoE],
    agree: Callable[..., None],
) -> None:
    axes = {"num_experts": experts, "slots_per_expert": slots, "backend": backend, "activation": activation}
    agree(make(name, **SIZES, **axes), batch, experts * slots)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("length", [1, 5, 11])
@pytest.mark.parametrize("name", ["uniform", "soft_uniform", "uniform_soft"])
def test_a_sequence_may_have_more_or_fewer_tokens_than_slots(
    name: str, length: int, backend: str, make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make(name, **SIZES, num_experts=3, slots_per_expert=2, backend=backend), 2, length)


@pytest.mark.parametrize("name", NAMES)
def test_only_a_learned_side_has_parameters(name: str, make: Callable[..., MoE]) -> None:
    layer = make(name, **SIZES, num_experts=3, slots_per_expert=2)
    expected = {"phi": (8, 3, 2), "scale": ()} if "soft" in name else {}
    assert {key: tuple(p.shape) for key, p in layer.router.named_parameters()} == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [("identity", OneToOne), ("uniform", Averaged), ("soft_uniform", Averaged), ("uniform_soft", Averaged)],
)
def test_both_backends_tell_the_same_facts(name: str, kind: type, make: Callable[..., MoE]) -> None:
    x = torch.randn(3, 6, 8, dtype=torch.float64)
    axes = {**SIZES, "num_experts": 3, "slots_per_expert": 2}
    dense, fused = (make(name, **axes, backend=backend).route(x) for backend in BACKENDS)
    assert isinstance(dense, OneToOne if name == "identity" else Weights)
    assert isinstance(fused, kind)
    assert torch.equal(dense.assigned(), fused.assigned())
    for decision in (dense, fused):
        assert decision.load().tolist() == [6.0] * 3
        assert (decision.drop_rate(), decision.unrouted_rate(), decision.losses()) == (0.0, 0.0, {})
    torch.testing.assert_close(dense.importance(), fused.importance(), rtol=0, atol=1e-12)
    assert float(dense.importance().sum().detach()) == pytest.approx(18)  # each token's weights sum to 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_identity_gives_every_token_to_one_expert_in_order(backend: str, make: Callable[..., MoE]) -> None:
    layer = make("identity", **SIZES, num_experts=2, slots_per_expert=2, backend=backend)
    x = torch.randn(2, 4, 8, dtype=torch.float64)
    decision = layer.route(x)
    assert decision.assigned().nonzero()[:, 1].tolist() == [0, 0, 1, 1] * 2
    slots = decision.dispatch(x)
    assert torch.equal(slots, torch.stack([x[:, :2].flatten(0, 1), x[:, 2:].flatten(0, 1)]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["uniform", "uniform_soft"])
def test_under_a_uniform_dispatch_all_slots_of_a_sequence_are_its_mean_and_all_are_computed(
    name: str, backend: str, make: Callable[..., MoE]
) -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    slots = make(name, **SIZES, num_experts=3, slots_per_expert=4, backend=backend).route(x).dispatch(x)
    assert slots.shape == (3, 2 * 4, 8)
    torch.testing.assert_close(slots, x.mean(1).repeat_interleave(4, 0).expand(3, -1, -1))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["uniform", "soft_uniform"])
def test_under_a_uniform_combine_all_tokens_of_a_sequence_get_the_same(
    name: str, backend: str, make: Callable[..., MoE]
) -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    y = make(name, **SIZES, num_experts=3, slots_per_expert=4, backend=backend)(x)
    torch.testing.assert_close(y, y[:, :1].expand_as(y))
    y[0, 0].zero_()  # an output of its own, not a view of one row
    assert bool(y[0, 1].any())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["soft_uniform", "uniform_soft"])
def test_without_a_scale_a_learned_side_is_uniform_too(name: str, backend: str, make: Callable[..., MoE]) -> None:
    axes = {**SIZES, "num_experts": 3, "slots_per_expert": 2, "backend": backend}
    half = make(name, **axes)
    with torch.no_grad():
        half.router.scale.zero_()
    uniform = softmoe_ref.build("uniform", **axes, dtype=torch.float64)
    uniform.load_state_dict({key: value for key, value in half.state_dict().items() if key.startswith("experts")})
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(half(x), uniform(x), rtol=0, atol=1e-12)


def test_the_identity_refuses_sequences_of_another_length(make: Callable[..., MoE]) -> None:
    layer = make("identity", **SIZES, num_experts=3, slots_per_expert=2)
    message = r"^identity needs sequences of num_experts \* slots_per_expert = 3 \* 2 = 6 tokens, got 7$"
    with pytest.raises(ValueError, match=message):
        layer(torch.zeros(1, 7, 8, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"slots_per_expert": 0}, "^slots_per_expert must be a whole number of at least 1, got 0$"),
        ({"num_experts": 0}, "^num_experts must be a whole number of at least 1, got 0$"),
        ({"backend": "loop"}, "^backend must be one of einsum, fused, got 'loop'$"),
    ],
)
def test_bad_axes_are_refused(name: str, axes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        softmoe_ref.build(name, **{**SIZES, "num_experts": 2, "slots_per_expert": 2, **axes})

"""Every layer in every backend, with tokens, weights and sizes at the edge of what makes sense."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import variants
from examples import AXES
from torch import Tensor
from variants import EXAMPLES, LENGTH, VARIATIONS

import softmoe_ref
from bench import layers
from softmoe_ref import MoE, oracle

HALF = torch.float16


def of_length(length: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x / x.double().norm(dim=-1, keepdim=True).to(x.dtype) * length


TOKENS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tiny": lambda x: of_length(1e-5 if x.dtype == HALF else 1e-8)(x),  # float16: 6e-8 to 65504
    "huge": lambda x: of_length(16.0 if x.dtype == HALF else 1e8)(x),
    "equal": lambda x: x[:1, :1].expand_as(x),
    "zero": torch.zeros_like,
    "sharp": lambda x: x,
}
"""What is done to normal tokens; `sharp` leaves them as they are, and makes the router's logits 10^4 times as large."""

TIES: Mapping[str, tuple[str, ...]] = {
    "expert_choice": ("huge", "equal", "zero", "sharp"),
    "peer": ("zero",),
}
"""Tokens whose gates are exactly equal, in layers that serve them in any order then: see the heads of their files."""

SMALLEST: Mapping[str, Mapping[str, object]] = {"identity": {"slots_per_expert": 1, "num_experts": 1}}
ODD: Mapping[str, Mapping[str, object]] = {
    "identity": {"num_experts": 11, "slots_per_expert": 1},
    "peer": {"num_experts": 9, "top_k": 7},
}
"""Where a layer's axes depend on the sizes: axes for one token, and for 11 tokens, d_model 5 and d_ff 7."""


def sharpen(layer: MoE, factor: float) -> None:
    """Multiply the logits: by the temperature if there is one, else by the router's weights."""
    weights = dict(layer.router.named_parameters())
    with torch.no_grad():
        for weight in [weights["scale"]] if "scale" in weights else weights.values():
            weight.mul_(factor)


def prepared(name: str, axes: Mapping[str, object], kind: str, dtype: torch.dtype) -> tuple[MoE, Tensor]:
    layer = variants.build(name, axes, dtype=dtype)
    if kind == "sharp":
        sharpen(layer, 1e2 if dtype == HALF else 1e4)
    return layer, TOKENS[kind](variants.tokens(dtype=dtype))


def assert_finite(layer: MoE, x: Tensor) -> None:
    y, gradients = variants.run(layer, x)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert not [name for name, value in {"y": y, **gradients}.items() if not value.isfinite().all()]


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_outputs_and_gradients_stay_finite(name: str, axes: dict[str, object], kind: str) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16, HALF):
        assert_finite(*prepared(name, axes, kind, dtype))


@pytest.mark.parametrize(("name", "axes"), VARIATIONS)
def test_they_stay_finite_in_training_whatever_the_axes(name: str, axes: dict[str, object]) -> None:
    for kind in TOKENS:
        layer, x = prepared(name, axes, kind, torch.float32)
        assert_finite(layer.train(), x)


@pytest.mark.parametrize(("name", "axes"), VARIATIONS)
def test_outputs_are_right_in_float64(name: str, axes: dict[str, object]) -> None:
    for kind in TOKENS.keys() - TIES.get(name, ()):
        layer, x = prepared(name, axes, kind, torch.float64)
        truth = oracle.forward(layer, x)
        assert torch.equal(layer.route(x).assigned(), truth.assigned), kind
        room = 1e-9 * (1e-9 + float(truth.y.abs().max()))
        torch.testing.assert_close(layer(x), truth.y, rtol=0, atol=room, msg=lambda m, k=kind: f"{k}: {m}")


@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_odd_sizes_are_no_special_case(name: str, axes: dict[str, object]) -> None:
    three = {"num_experts": 3} if "num_experts" in axes else {}
    layer = variants.build(name, {**axes, **three, **ODD.get(name, {})}, dtype=torch.float64, d_model=5, d_ff=7)
    agree_with_the_oracle(layer, variants.tokens(length=11, width=5, dtype=torch.float64))


@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_one_token_is_a_sequence(name: str, axes: dict[str, object]) -> None:
    room = {"capacity_factor": 4.0} if "capacity_factor" in layers.TABLE[name].axes else {}
    layer = variants.build(name, {**axes, **room, **SMALLEST.get(name, {})}, dtype=torch.float64)
    agree_with_the_oracle(layer, variants.tokens(batch=1, length=1, dtype=torch.float64))


@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_one_expert_is_a_layer_unless_a_token_needs_more(name: str, axes: dict[str, object]) -> None:
    one = {"num_experts": 1} if "num_experts" in axes else {}
    slots = {"slots_per_expert": LENGTH} if "slots_per_expert" in axes else {}
    choices = {"top_k": 1} if "top_k" in axes else {}
    try:
        layer = variants.build(name, {**axes, **one, **slots, **choices}, dtype=torch.float64)
    except ValueError as refusal:
        message = str(refusal)
    else:
        agree_with_the_oracle(layer, variants.tokens(dtype=torch.float64))
        return
    assert re.fullmatch("top_k must be (at most|below) .*1.*, got 2", message)


def agree_with_the_oracle(layer: MoE, x: Tensor) -> None:
    y, gradients = variants.run(layer, x)
    truth = oracle.forward(layer, x)
    decision = layer.route(x)
    assert torch.equal(decision.assigned(), truth.assigned)
    torch.testing.assert_close(y, truth.y, rtol=0, atol=1e-10)
    figures = [decision.load(), decision.importance(), *decision.losses().values(), *gradients.values()]
    assert all(figure.isfinite().all() for figure in figures)
    assert 0 <= decision.drop_rate() < 1
    assert 0 <= decision.unrouted_rate() < 1


@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_an_empty_batch_is_refused_in_one_sentence(name: str, axes: dict[str, object]) -> None:
    layer = variants.build(name, axes)
    for shape in ((0, LENGTH, 8), (2, 0, 8), (0, 0, 8)):
        message = rf"^tokens must have shape \(B, M, 8\) with B, M >= 1, got {re.escape(str(shape))}$"
        for call in (layer, layer.route, layer.losses):
            with pytest.raises(ValueError, match=message):
                call(torch.zeros(shape))


@pytest.mark.parametrize(
    ("name", "axes"), [one for one in EXAMPLES if "capacity_factor" in layers.TABLE[one.values[0]].axes]
)
def test_a_capacity_of_nothing_is_refused_in_one_sentence_or_rounded_up(name: str, axes: dict[str, object]) -> None:
    layer: Any = variants.build(name, {**axes, "capacity_factor": 1e-3})
    x = variants.tokens()
    if layer.router.capacity_rounding == "round":
        with pytest.raises(
            ValueError, match=r"^capacity_factor must leave at least one place per expert, got 0\.001: "
        ):
            layer(x)
    else:
        places = 4 if layer.router.capacity_rounding == "ceil4" else 1
        assert int(layer.route(x).load().max()) == places * len(x)


@pytest.mark.parametrize("name", [name for name in softmoe_ref.TABLE if layers.TABLE[name].backends])
def test_the_harness_knows_every_backend(name: str) -> None:
    with pytest.raises(ValueError, match=r"^backend must be one of ") as refusal:
        variants.build(name, {**AXES[name], "backend": "none of them"})
    allowed = str(refusal.value).removeprefix("backend must be one of ").removesuffix(", got 'none of them'")
    assert set(allowed.split(", ")) == set(layers.TABLE[name].backends)

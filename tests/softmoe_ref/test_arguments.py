import math

import pytest
import torch

import softmoe_ref
from softmoe_ref import arguments

SIZES = {"d_model": 8, "d_ff": 12, "num_experts": 4}


@pytest.mark.parametrize("value", [0, -1, 2.0, True, None])
def test_a_count_must_be_a_positive_whole_number(value: object) -> None:
    with pytest.raises(ValueError, match=rf"^num_experts must be a whole number of at least 1, got {value}$"):
        arguments.positive_integer("num_experts", value)


@pytest.mark.parametrize("value", [-1, 1.0, True, None])
def test_a_count_of_none_may_be_zero_and_not_less(value: object) -> None:
    with pytest.raises(ValueError, match=rf"^num_shared_experts must be a whole number of at least 0, got {value}$"):
        arguments.whole_number("num_shared_experts", value)


@pytest.mark.parametrize("value", [0, -0.5, math.inf, math.nan, True, "1"])
def test_a_factor_must_be_a_positive_number(value: object) -> None:
    with pytest.raises(ValueError, match=rf"^capacity_factor must be a finite number above 0, got {value!r}$"):
        arguments.positive_number("capacity_factor", value)


@pytest.mark.parametrize("value", [-0.5, math.inf, math.nan, True, "1"])
def test_an_amount_must_be_a_number_from_zero(value: object) -> None:
    with pytest.raises(ValueError, match=rf"^jitter must be a finite number of at least 0, got {value!r}$"):
        arguments.number_from_zero("jitter", value)


def test_a_bound_is_another_argument() -> None:
    arguments.at_most("top_k", 4, "num_experts", 4)
    with pytest.raises(ValueError, match=r"^top_k must be at most num_experts = 4, got 5$"):
        arguments.at_most("top_k", 5, "num_experts", 4)


def test_good_values_pass() -> None:
    arguments.positive_integer("top_k", 1)
    arguments.whole_number("num_shared_experts", 0)
    arguments.positive_number("capacity_factor", 1)
    arguments.number_from_zero("jitter", 0)
    arguments.one_of("backend", "loop", ("einsum", "loop"))


@pytest.mark.parametrize(
    ("name", "axes", "message"),
    [
        ("dense", {"d_model": 0, "d_ff": 2}, "d_model must be a whole number of at least 1, got 0"),
        (
            "dense",
            {"d_model": 2, "d_ff": 2, "activation": "relu"},
            "activation must be one of gelu, swiglu, got 'relu'",
        ),
        ("soft", {**SIZES, "slots_per_expert": 0}, "slots_per_expert must be a whole number of at least 1, got 0"),
        (
            "soft",
            {**SIZES, "slots_per_expert": 1, "backend": "loop"},
            "backend must be one of einsum, fused, sdpa, compile, got 'loop'",
        ),
        (
            "soft",
            {**SIZES, "slots_per_expert": 1, "normalize": "both"},
            "normalize must be one of logits, tokens, none, got 'both'",
        ),
        ("token_choice", {**SIZES, "top_k": 5}, "top_k must be at most num_experts = 4, got 5"),
        ("token_choice", {**SIZES, "group_size": 0}, "group_size must be a whole number of at least 1, got 0"),
        (
            "token_choice",
            {**SIZES, "backend": "fused"},
            "backend must be one of einsum, indexed, grouped, loop, got 'fused'",
        ),
        (
            "token_choice",
            {**SIZES, "capacity_rounding": "up"},
            "capacity_rounding must be one of round, ceil, ceil4, got 'up'",
        ),
        (
            "expert_choice",
            {**SIZES, "capacity_factor": None},
            "capacity_factor must be a finite number above 0, got None",
        ),
        ("expert_choice", {**SIZES, "backend": "loop"}, "backend must be one of einsum, indexed, got 'loop'"),
    ],
)
def test_a_layer_refuses_a_bad_axis_with_one_sentence(name: str, axes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        softmoe_ref.build(name, **axes)


@pytest.mark.parametrize("shape", [(8, 8), (2, 3, 7), (0, 3, 8), (2, 0, 8), (1, 2, 3, 8)])
def test_tokens_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    layer = softmoe_ref.build("dense", d_model=8, d_ff=12)
    with pytest.raises(ValueError, match=r"^tokens must have shape \(B, M, 8\) with B, M >= 1, got \(.*\)$"):
        layer(torch.zeros(shape))

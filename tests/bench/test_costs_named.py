"""The costs of Switch, GShard, V-MoE and Mixtral against numbers worked out by hand."""

import pytest

from bench.costs import gshard, mixtral, switch, token_choice, vmoe

# 2 groups of 6 tokens, as in test_costs.py
SIZES = {"batch_size": 2, "seq_len": 6, "d_model": 5, "d_ff": 7, "dtype": "float32", "num_experts": 4}
AXES = SIZES | {"capacity_factor": 1.0, "group_size": None, "activation": "gelu", "backend": "indexed"}
EXPERT = 2 * 5 * 7 + 7 + 5  # 82 parameters
ROW = 4 * 5 * 7  # 140 FLOP for one token through one expert
ROUTER = 2 * 12 * 5 * 4  # 480 FLOP


def test_switch_by_hand() -> None:
    # ceil(6 / 4) = 2 places: 12 assignments on 2 * 4 * 2 places
    cost = switch(AXES)
    assert cost.parameters == 4 * EXPERT + 5 * 4 == 348
    assert cost.useful_flops == ROUTER + 12 * ROW == 2160
    assert cost.executed_flops == ROUTER + 16 * ROW == 2720


def test_gshard_by_hand() -> None:
    # ceil(6 * 2 / 4) = 3 places: 24 assignments on as many
    cost = gshard(AXES)
    assert cost.parameters == 348
    assert cost.useful_flops == cost.executed_flops == ROUTER + 24 * ROW == 3840
    # 1.1 * 3 rounds up to 4
    assert gshard(AXES | {"capacity_factor": 1.1}).executed_flops == ROUTER + 32 * ROW


def test_vmoe_by_hand() -> None:
    # 3 places are rounded up to 4
    cost = vmoe(AXES | {"top_k": 2, "batch_priority": True})
    assert cost.parameters == 348
    assert cost.useful_flops == ROUTER + 24 * ROW
    assert cost.executed_flops == ROUTER + 32 * ROW == 4960


@pytest.mark.parametrize("backend", ["grouped", "loop"])
def test_mixtral_by_hand(backend: str) -> None:
    cost = mixtral(SIZES | {"backend": backend})
    assert cost.parameters == 4 * 3 * 5 * 7 + 5 * 4 == 440
    assert cost.useful_flops == cost.executed_flops == ROUTER + 24 * 6 * 5 * 7 == 5520


def test_padding_mixtral_takes_as_much_as_the_fullest_expert_needs() -> None:
    assert mixtral(SIZES | {"backend": "indexed"}).executed_flops is None


@pytest.mark.parametrize("layer", [switch, gshard, vmoe])
def test_one_hot_products_are_those_of_tokens_choice(layer: object) -> None:
    assert callable(layer)
    free = AXES | {"top_k": 2, "backend": "einsum"}
    fixed = {switch: {"top_k": 1, "capacity_rounding": "ceil"}, gshard: {"capacity_rounding": "ceil"}}
    assert layer(free) == token_choice(free | fixed.get(layer, {"capacity_rounding": "ceil4"}))
    assert layer(free).one_sided_flops > 0


def test_what_a_layer_has_fixed_cannot_be_changed_from_outside() -> None:
    assert switch(AXES | {"top_k": 3, "capacity_rounding": "ceil4"}) == switch(AXES)
    assert mixtral(SIZES | {"activation": "gelu", "capacity_factor": 0.5}) == mixtral(SIZES)

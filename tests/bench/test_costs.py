"""Parameters, FLOPs and bytes against numbers worked out by hand and against the paper's tables."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from bench.costs import (
    VARIANTS,
    capacity,
    dense,
    dense_active,
    dense_total,
    expert_choice,
    for_mode,
    identity,
    matched_width,
    mixtral_transformers,
    peer,
    smear,
    soft,
    soft_mixture_of_experts,
    soft_moe_bwconrad,
    soft_moe_pytorch,
    soft_uniform,
    sparse,
    token_choice,
    uniform,
    uniform_soft,
    vit,
)

# B M D F are small and different, so that no letter can stand for another
SIZES = {"batch_size": 2, "seq_len": 6, "d_model": 5, "d_ff": 7, "dtype": "float32"}
SPARSE = SIZES | {"num_experts": 3, "capacity_factor": 1.0, "group_size": None, "capacity_rounding": "round"}
TOKENS = SPARSE | {"top_k": 2, "backend": "indexed"}
EXPERT = 2 * 5 * 7 + 7 + 5  # 82 parameters
ROW = 4 * 5 * 7  # 140 FLOP for one token through one expert
ROUTER = 2 * 12 * 5 * 3  # 360 FLOP

# arXiv:2308.00951v2 Table 8: parameters recomputed exactly from the official code, GFLOP of one image at 2 per MAC
TABLE_8 = [
    ("S/16", None, 33_059_737, 9.17),
    ("S/16", 128, 933_709_471, 8.55),
    ("S/14", 256, 1_841_402_527, 13.12),
    ("B/16", None, 108_555_673, 34.99),
    ("B/16", 128, 3_707_638_687, 31.83),
    ("L/16", None, 333_635_481, 122.53),
    ("L/16", 128, 13_127_249_829, 110.68),
    ("H/14", None, 668_675_993, 333.32),
    ("H/14", 128, 27_318_132_649, 283.66),
    ("H/14", 256, 54_177_406_889, 341.37),
]


@pytest.mark.parametrize(("variant", "experts", "parameters", "gflop"), TABLE_8)
def test_the_papers_models_come_out(variant: str, experts: int | None, parameters: int, gflop: float) -> None:
    axes = {"variant": variant, "batch_size": 1, "dtype": "float32", **VARIANTS[variant].axes}
    layer = dense(axes) if experts is None else soft(axes | {"num_experts": experts, "slots_per_expert": 1})
    cost = vit(axes, layer)
    assert cost.parameters == parameters
    assert cost.parameter_bytes == 4 * parameters
    assert cost.useful_flops == cost.executed_flops == pytest.approx(gflop * 1e9, abs=0.005e9)


def test_a_batch_of_images_costs_as_many_times_the_flops() -> None:
    costs = []
    for batch_size in (1, 3):
        axes = {"variant": "tiny", "batch_size": batch_size, "dtype": "bfloat16", **VARIANTS["tiny"].axes}
        costs.append(vit(axes, dense(axes)))
    one, three = costs
    assert three.useful_flops == 3 * one.useful_flops
    assert (three.leaf_flops, three.repeated_flops) == (3 * one.leaf_flops, 3 * one.repeated_flops)
    assert (three.parameters, three.parameter_bytes) == (one.parameters, 2 * one.parameters)
    assert (one.output_bytes, three.output_bytes) == (20, 60)
    assert one.min_bytes is for_mode(one, "forward_backward").min_bytes is None


def test_images_take_no_gradient_and_attention_computes_its_logits_twice() -> None:
    axes = {"variant": "tiny", "batch_size": 2, "dtype": "float32", **VARIANTS["tiny"].axes}
    cost = vit(axes, dense(axes))
    both = for_mode(cost, "forward_backward")
    patches, logits = 2 * 2 * 64 * (3 * 8 * 8) * 192, 4 * 2 * 2 * 64 * 64 * 192
    assert both.useful_flops == 3 * cost.useful_flops - patches
    assert both.executed_flops == 3 * cost.executed_flops - patches + logits


def test_what_the_data_decides_in_a_layer_is_unknown_in_its_model() -> None:
    axes = {"variant": "tiny", "batch_size": 1, "dtype": "float32", **VARIANTS["tiny"].axes, "top_k": 2}
    layer = token_choice(axes | {"num_experts": 4, "capacity_factor": 1.0, "backend": "grouped"})
    cost = vit(axes, layer)
    assert cost.executed_flops is for_mode(cost, "forward_backward").executed_flops is None
    assert cost.useful_flops is not None


def test_the_papers_one_hot_einsum_comes_out_in_training_too() -> None:
    axes = {"variant": "S/16", "batch_size": 8, "dtype": "float32", "backend": "einsum", **VARIANTS["S/16"].axes}
    sparse_axes = axes | {"num_experts": 32, "top_k": 1, "capacity_factor": 1.0, "group_size": 1568}
    whole, indexed = token_choice(sparse_axes), token_choice(sparse_axes | {"backend": "indexed"})
    assert (whole.executed_flops - indexed.executed_flops) / 2 / 1568 == 2 * 1568 * 384  # 1.20 M multiply-adds a token
    # the paper takes three forwards for a training step, images and attention like everything else
    models = [vit(axes, layer) for layer in (whole, dense(axes))]
    training = [3 * cost.executed_flops - cost.one_sided_flops for cost in models]
    assert training[0] / training[1] == pytest.approx(21.5 / 17.0, rel=0.005)  # exaFLOP of S/16, Table 9


def test_dense_by_hand() -> None:
    cost = dense(SIZES)
    assert cost.parameters == EXPERT == 82
    assert cost.parameter_bytes == 328
    assert cost.useful_flops == cost.executed_flops == 12 * ROW == 1680
    assert cost.output_bytes == 12 * 5 * 4
    assert cost.min_bytes == 4 * (82 + 2 * 60 + 12 * 7) == 1144


def test_soft_by_hand() -> None:
    cost = soft(SIZES | {"num_experts": 3, "slots_per_expert": 2})
    assert cost.parameters == 3 * EXPERT + 5 * 6 + 1 == 277
    # logits, dispatch, combine: 2 sequences of (6 x 5) @ (5 x 6); 2 * 6 slots through an expert
    assert cost.useful_flops == cost.executed_flops == 3 * 2 * 2 * 6 * 5 * 6 + 12 * ROW == 3840
    assert cost.min_bytes == 4 * (277 + 2 * 60 + 2 * 6 * 6 + 12 * 5 * 2 + 12 * 7) == 2692


def test_soft_agrees_with_the_published_asv_number() -> None:
    axes = {"batch_size": 1, "seq_len": 196, "d_model": 128, "d_ff": 256, "num_experts": 4, "slots_per_expert": 1}
    assert soft(axes | {"dtype": "float32"}).useful_flops == 1_126_400


def test_soft_flops_depend_on_the_product_of_experts_and_slots_only() -> None:
    axes = {"batch_size": 1, "seq_len": 196, "d_model": 384, "d_ff": 1536, "dtype": "float32"}
    split = [soft(axes | {"num_experts": 2**n, "slots_per_expert": 2 ** (8 - n)}) for n in range(9)]
    assert len({cost.useful_flops for cost in split}) == 1
    assert [cost.parameters for cost in split] == sorted({cost.parameters for cost in split})


def test_token_choice_by_hand() -> None:
    # 2 groups of 6 tokens, capacity round(6 * 2 * 1 / 3) = 4: 24 assignments on 2 * 3 * 4 places
    cost = token_choice(TOKENS)
    assert cost.parameters == 3 * EXPERT + 5 * 3 == 261
    assert cost.useful_flops == cost.executed_flops == ROUTER + 24 * ROW == 3720
    assert cost.min_bytes == 4 * (261 + 2 * 60 + 12 * 3 + 24 * (2 * 5 + 7)) == 3300


def test_capacity_bounds_useful_rows_from_above_and_sets_the_executed_ones() -> None:
    roomy, tight = TOKENS | {"capacity_factor": 1.5}, TOKENS | {"capacity_factor": 0.5}  # 6 and 2 places
    assert token_choice(roomy).useful_flops == ROUTER + 24 * ROW
    assert token_choice(roomy).executed_flops == ROUTER + 36 * ROW
    assert token_choice(tight).useful_flops == token_choice(tight).executed_flops == ROUTER + 12 * ROW


def test_the_one_hot_products_are_executed_and_not_useful() -> None:
    plain, einsum = token_choice(TOKENS), token_choice(TOKENS | {"backend": "einsum"})
    one_hot = 2 * 2 * 6 * 3 * 4 * 5  # 2 groups of (3 * 4 x 6) @ (6 x 5)
    assert einsum.useful_flops == plain.useful_flops
    assert einsum.executed_flops == plain.executed_flops + 2 * one_hot
    assert einsum.one_sided_flops == one_hot == 1440


def test_one_group_for_the_whole_batch_makes_one_hot_products_larger() -> None:
    by_sequence = token_choice(TOKENS | {"backend": "einsum"})
    together = token_choice(TOKENS | {"backend": "einsum", "group_size": 12})
    assert together.one_sided_flops == 2 * by_sequence.one_sided_flops
    assert together.useful_flops == by_sequence.useful_flops


@pytest.mark.parametrize(
    ("backend", "capacity_factor", "rows"),
    [
        ("indexed", 1.0, 24),
        ("indexed", None, None),
        ("einsum", None, None),
        ("grouped", None, 24),
        ("loop", None, 24),
        ("grouped", 1.0, None),
        ("loop", 1.0, None),
        ("grouped", 1.5, 24),  # capacity 6 = every token of the group: nothing can be dropped
        ("fused", None, None),
        ("fused", 1.0, None),
    ],
)
def test_what_the_data_decides_is_unknown(backend: str, capacity_factor: float | None, rows: int | None) -> None:
    cost = token_choice(TOKENS | {"backend": backend, "capacity_factor": capacity_factor})
    assert cost.executed_flops == (None if rows is None else ROUTER + rows * ROW)
    assert cost.useful_flops == ROUTER + 24 * ROW


@pytest.mark.parametrize("backend", ["indexed", "grouped", "loop"])
def test_expert_choice_by_hand(backend: str) -> None:
    # capacity round(6 / 3) = 2: 2 groups * 3 experts * 2 places, all taken
    cost = expert_choice(SPARSE | {"backend": backend})
    assert cost.parameters == 261
    assert cost.useful_flops == cost.executed_flops == ROUTER + 12 * ROW == 2040
    assert cost.min_bytes == 4 * (261 + 2 * 60 + 12 * 3 + 12 * (2 * 5 + 7)) == 2484


def test_expert_choice_pays_for_one_hot_products_too() -> None:
    cost = expert_choice(SPARSE | {"backend": "einsum"})
    assert cost.one_sided_flops == 2 * 2 * 6 * 3 * 2 * 5
    assert cost.executed_flops == cost.useful_flops + 2 * cost.one_sided_flops


def test_expert_choice_takes_no_top_k() -> None:
    assert expert_choice(SPARSE | {"backend": "indexed", "top_k": 2}) == expert_choice(SPARSE | {"backend": "indexed"})


def test_experts_that_no_row_can_reach_are_not_read() -> None:
    one = TOKENS | {"batch_size": 1, "seq_len": 1, "top_k": 1, "num_experts": 64, "capacity_factor": None}
    cost = token_choice(one)
    assert cost.parameters == 64 * EXPERT + 5 * 64
    assert cost.min_bytes == 4 * (EXPERT + 5 * 64 + 2 * 5 + 64 + (2 * 5 + 7))


def test_smear_by_hand() -> None:
    cost = smear(SIZES | {"num_experts": 3})
    assert cost.parameters == 3 * EXPERT + 5 * 3 + 3 * 5 == 276
    # two means through the router, two merged experts of 82 parameters from three, 12 rows
    assert cost.useful_flops == cost.executed_flops == 2 * 2 * 5 * 3 + 2 * 2 * 3 * 82 + 12 * ROW == 2724
    assert cost.min_bytes == 4 * (276 + 2 * 60 + 2 * 3 + 2 * 82 + 12 * 7) == 2600


def test_smear_with_swiglu_merges_three_matrices_and_no_bias() -> None:
    cost = smear(SIZES | {"num_experts": 3, "activation": "swiglu"})
    assert cost.executed_flops == 2 * 2 * 5 * 3 + 2 * 2 * 3 * (3 * 5 * 7) + 12 * 6 * 5 * 7


def test_peer_by_hand() -> None:
    # F = 8 neurons of a token = 2 heads * 4; 9 experts = 3 * 3 sub-keys of width ceil(5 / 2) = 3
    axes = SIZES | {"d_ff": 8, "num_experts": 9, "top_k": 4}
    router = 2 * 12 * 5 * (2 * 2 * 3) + 2 * 2 * (12 * 2) * 3 * 3
    cost = peer(axes | {"backend": "bag"})
    assert cost.parameters == 2 * 9 * 5 + 5 * 2 * 2 * 3 + 2 * 3 * 3 == 168
    assert cost.useful_flops == cost.executed_flops == router + 12 * 8 * 4 * 5 == 4224
    assert cost.min_bytes == 4 * (168 + 2 * 60 + 12 * (12 + 12 + 16)) == 3072
    assert peer(axes | {"backend": "indexed"}) == cost
    einsum = peer(axes | {"backend": "einsum"})
    assert (einsum.useful_flops, einsum.executed_flops) == (4224, router + 12 * 9 * 4 * 5)
    assert peer(axes | {"backend": "fused"}).executed_flops is None


def test_peer_reads_no_more_experts_than_can_be_retrieved() -> None:
    axes = SIZES | {"batch_size": 1, "seq_len": 1, "d_ff": 8, "top_k": 4, "backend": "bag"}
    small, large = peer(axes | {"num_experts": 64}), peer(axes | {"num_experts": 256})
    keys_and_scores = 2 * 8 * 3 + 2 * 2 * 8  # of 8 more sub-keys on each side
    assert large.min_bytes - small.min_bytes == 4 * keys_and_scores


@pytest.mark.parametrize("changes", [{"num_experts": 8}, {"top_k": 3}])
def test_peer_refuses_what_it_cannot_be(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be a square number and d_ff 8 a multiple of top_k"):
        peer(SIZES | {"d_ff": 8, "num_experts": 9, "top_k": 4} | changes)


@pytest.mark.parametrize(
    ("layer", "parameters", "products", "fixed_sides", "between"),
    [
        (identity, 0, 0, 2, 0),
        (uniform, 0, 0, 2, 2 * 2 * 5),
        (soft_uniform, 5 * 6 + 1, 2, 1, 2 * 6 * 6 + 2 * 5),
        (uniform_soft, 5 * 6 + 1, 2, 1, 2 * 6 * 6 + 2 * 5),
    ],
)
def test_ablations_by_hand(
    layer: Callable[..., Any], parameters: int, products: int, fixed_sides: int, between: int
) -> None:
    # 6 slots of each of 2 sequences of 6 tokens; each product is (6 x 5) @ (5 x 6), twice
    axes = SIZES | {"num_experts": 3, "slots_per_expert": 2}
    one = 2 * 2 * 6 * 5 * 6
    fused, einsum = layer(axes | {"backend": "fused"}), layer(axes | {"backend": "einsum"})
    assert fused.parameters == einsum.parameters == 3 * EXPERT + parameters
    assert fused.useful_flops == fused.executed_flops == einsum.useful_flops == products * one + 12 * ROW
    assert einsum.executed_flops == fused.executed_flops + fixed_sides * one
    assert (fused.one_sided_flops, einsum.one_sided_flops) == (0, fixed_sides * one)
    assert fused.min_bytes == 4 * (3 * EXPERT + parameters + 2 * 60 + between + 12 * 2 * 5 + 12 * 7)


def test_the_identity_needs_as_many_slots_as_tokens() -> None:
    with pytest.raises(ValueError, match=r"^identity needs seq_len = num_experts \* slots_per_expert, got 6$"):
        identity(SIZES | {"num_experts": 3, "slots_per_expert": 1})


def test_dense_layers_of_a_sparse_one_s_size_by_hand() -> None:
    # 11 parameters a hidden unit, 5 of the output bias; 2 of 3 experts and the router: 2 * 82 + 15 = 15.8 * 11 + 5
    assert matched_width(TOKENS, 2) == 16
    assert dense_active(TOKENS) == dense(SIZES | {"d_ff": 16})
    # 3 * 82 + 15 = 261 = 23.3 * 11 + 5
    assert dense_total(TOKENS) == dense(SIZES | {"d_ff": 23})
    # 15 a unit: 2 * 105 + 15 = 225
    swiglu = TOKENS | {"activation": "swiglu"}
    assert dense_active(swiglu) == dense(SIZES | {"d_ff": 15, "activation": "swiglu"})
    with pytest.raises(ValueError, match=r"^top_k 4 is more than num_experts 3$"):
        dense_active(TOKENS | {"top_k": 4})


@pytest.mark.parametrize(
    "layer",
    [
        dense,
        soft,
        token_choice,
        expert_choice,
        smear,
        identity,
        uniform,
        soft_uniform,
        uniform_soft,
        dense_active,
        dense_total,
    ],
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_halves_bytes_and_nothing_else(layer: Callable[..., Any], dtype: str) -> None:
    axes = TOKENS | {"slots_per_expert": 2}
    full, half = layer(axes), layer(axes | {"dtype": dtype})
    sizes = {
        name: getattr(full, name) // 2 for name in ("parameter_bytes", "output_bytes", "between_bytes", "min_bytes")
    }
    assert half == dataclasses.replace(full, **sizes)


# from the official code: tokens of a group, experts, factor, rounding -> places (golden/capacity_table.npz, all 389
# rows with these roundings agree); ties first
@pytest.mark.parametrize(
    ("tokens", "experts", "factor", "rounding", "places"),
    [
        (1568, 64, 1.0, "round", 24),  # 24.5
        (20, 4, 0.5, "round", 2),  # 2.5
        (20, 4, 1.5, "round", 8),  # 7.5
        (196, 4, 1.5, "round", 74),  # 73.5
        (392, 4, 1.25, "round", 122),  # 122.5
        (196, 8, 0.5, "round", 12),  # 12.25
        (49, 32, 1.05, "round", 2),
        (196, 8, 1.25, "round", 31),
        (256, 4, 1.05, "round", 67),
        (1568, 64, 1.5, "round", 37),
        (1568, 64, 1.0, "ceil4", 28),
        (16, 64, 2.0, "ceil4", 4),
        (20, 4, 1.5, "ceil4", 8),
        (49, 4, 2.0, "ceil4", 28),
        (196, 4, 1.5, "ceil4", 76),
        (392, 32, 1.0, "ceil4", 16),
        (1568, 128, 2.0, "ceil4", 28),
    ],
)
def test_capacity_is_the_official_codes(
    tokens: int, experts: int | None, factor: float, rounding: str, places: int
) -> None:
    axes = {"batch_size": 1, "seq_len": tokens, "num_experts": experts, "capacity_factor": factor}
    assert capacity(axes | {"capacity_rounding": rounding}) == places


def test_capacity_counts_every_choice_and_the_group_given() -> None:
    assert capacity(TOKENS) == 4
    assert capacity(SPARSE) == 2
    assert capacity(TOKENS | {"group_size": 12}) == 8
    assert capacity(SPARSE | {"num_experts": 100}) == 0


def test_backward_costs_two_forwards_and_the_optimiser_no_product() -> None:
    cost = soft(SIZES | {"num_experts": 3, "slots_per_expert": 2})
    both, step = for_mode(cost, "forward_backward"), for_mode(cost, "train_step")
    assert for_mode(cost, "forward") == cost
    assert both.useful_flops == both.executed_flops == step.executed_flops == 3 * 3840
    assert both.parameters == cost.parameters
    assert both.min_bytes == 3 * 2692 - 240
    assert step.min_bytes is None


def test_the_mask_takes_no_gradient() -> None:
    cost = token_choice(TOKENS | {"backend": "einsum"})
    both = for_mode(cost, "forward_backward")
    assert both.executed_flops == 3 * cost.executed_flops - 1440
    assert both.useful_flops == 3 * cost.useful_flops


def test_unknown_stays_unknown_in_every_mode() -> None:
    cost = token_choice(TOKENS | {"capacity_factor": None})
    assert for_mode(cost, "forward_backward").executed_flops is None


def test_a_mode_is_applied_once() -> None:
    both = for_mode(dense(SIZES), "forward_backward")
    with pytest.raises(ValueError, match="got one of mode 'forward_backward'"):
        for_mode(both, "forward_backward")
    with pytest.raises(ValueError, match="must be forward, forward_backward or train_step, got 'backward'"):
        for_mode(dense(SIZES), "backward")


@pytest.mark.parametrize(
    ("layer", "changed", "message"),
    [
        (dense, {"d_ff": 0}, "d_ff must be a whole number of at least 1, got 0"),
        (dense, {"d_model": 5.0}, "d_model must be a whole number of at least 1, got 5.0"),
        (dense, {"batch_size": True}, "batch_size must be a whole number"),
        (dense, {"dtype": "float8"}, "dtype must be one of float32, bfloat16, float16, got 'float8'"),
        (soft, {"slots_per_expert": None}, "slots_per_expert must be a whole number of at least 1, got None"),
        (token_choice, {"top_k": 4}, "top_k 4 is more than num_experts 3"),
        (token_choice, {"group_size": 5}, "group_size 5 does not divide batch_size"),
        (token_choice, {"capacity_factor": 0}, "capacity_factor must be a number above 0"),
        (token_choice, {"capacity_factor": 0.01}, "an expert has no place"),
        (token_choice, {"capacity_rounding": "up"}, "capacity_rounding must be round, ceil or ceil4, got 'up'"),
        (expert_choice, {"capacity_factor": None}, "expert_choice needs a capacity_factor"),
        (expert_choice, {"capacity_factor": 4.0}, "an expert cannot choose 8 of 6 tokens"),
        (capacity, {"capacity_factor": None}, "sets no capacity"),
    ],
)
def test_a_case_without_meaning_is_refused_by_name(
    layer: Callable[..., Any], changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        layer(TOKENS | changed)


def test_the_backends_of_the_table_are_known_here() -> None:
    assert {"einsum", "indexed", "grouped", "loop"} == {*sparse.PADDED_BACKENDS, *sparse.RAGGED_BACKENDS}


def test_other_packages_have_the_formula_of_ours_with_their_own_parameters() -> None:
    axes = SIZES | {"num_experts": 3, "slots_per_expert": 2}
    ours = soft(axes)
    for theirs, further in ((soft_moe_pytorch, 2 * 5 - 1), (soft_mixture_of_experts, -1), (soft_moe_bwconrad, 0)):
        found = theirs(axes)
        assert found.parameters == 3 * EXPERT + 5 * 6 + 1 + further
        assert found.parameter_bytes == 4 * found.parameters
        assert found.min_bytes == ours.min_bytes + 4 * further
        assert (found.useful_flops, found.executed_flops) == (ours.useful_flops, ours.executed_flops)


@pytest.mark.parametrize("backend", ["eager", "grouped_mm"])
def test_mixtral_computes_three_products_for_every_choice_of_a_token(backend: str) -> None:
    found = mixtral_transformers(SIZES | {"num_experts": 3, "top_k": 2, "group_size": None, "backend": backend})
    assert found.parameters == 3 * 3 * 5 * 7 + 5 * 3
    assert found.useful_flops == found.executed_flops == ROUTER + 12 * 2 * 6 * 5 * 7

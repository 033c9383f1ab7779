"""The costs of dropless layers against numbers worked out by hand."""

from typing import Any

import pytest

from bench.costs import balanced_assignment, deepseek, for_mode, hash_routing, remoe

SIZES: dict[str, Any] = {"batch_size": 2, "seq_len": 6, "d_model": 5, "d_ff": 7, "dtype": "float32", "num_experts": 3}
EXPERT = 2 * 5 * 7 + 7 + 5  # 82 parameters
ROW = 4 * 5 * 7  # 140 FLOP for one token through one expert
ROUTER = 2 * 12 * 5 * 3  # 360 FLOP
DEEPSEEK = SIZES | {"top_k": 2, "num_shared_experts": 2, "backend": "grouped"}


def test_deepseek_by_hand() -> None:
    cost = deepseek(DEEPSEEK)
    shared = 2 * 5 * 14 + 14 + 5  # one expert of twice the hidden width
    assert cost.parameters == 3 * EXPERT + 5 * 3 + shared == 420
    assert cost.useful_flops == cost.executed_flops == ROUTER + 12 * 2 * ROW + 12 * 2 * ROW == 7080
    assert cost.min_bytes == 4 * (420 + 2 * 60 + 12 * 3 + 24 * (2 * 5 + 7) + 12 * (14 + 5)) == 4848


def test_deepseek_without_shared_experts_and_with_swiglu() -> None:
    cost = deepseek(DEEPSEEK | {"num_shared_experts": 0})
    assert cost.parameters == 3 * EXPERT + 15
    assert cost.useful_flops == ROUTER + 24 * ROW
    gated = deepseek(DEEPSEEK | {"activation": "swiglu"})
    assert gated.parameters == 3 * 105 + 15 + 210
    assert gated.useful_flops == ROUTER + 48 * 210


def test_hash_routing_by_hand() -> None:
    cost = hash_routing(SIZES | {"backend": "loop"})
    assert cost.parameters == 3 * EXPERT
    assert cost.useful_flops == cost.executed_flops == 12 * ROW
    assert cost.min_bytes == 4 * (246 + 2 * 60 + 12 * (2 * 5 + 7))


@pytest.mark.parametrize("backend", ["indexed", "einsum", "fused"])
def test_the_padding_of_a_dropless_layer_is_decided_by_the_data(backend: str) -> None:
    for cost in (
        deepseek(DEEPSEEK | {"backend": backend}),
        hash_routing(SIZES | {"backend": backend}),
        balanced_assignment(SIZES | {"backend": backend, "assignment": "auction", "mode": "forward"}),
        balanced_assignment(SIZES | {"backend": backend, "assignment": "sinkhorn", "mode": "forward_backward"}),
    ):
        assert cost.executed_flops is None
        assert cost.useful_flops is not None


def test_an_auction_leaves_nothing_to_the_data_in_training() -> None:
    axes = SIZES | {"num_experts": 5, "assignment": "auction", "mode": "forward_backward"}
    router = 2 * 12 * 5 * 5
    ragged, padded, einsum = (balanced_assignment(axes | {"backend": b}) for b in ("grouped", "indexed", "einsum"))
    assert ragged.parameters == 5 * EXPERT + 25
    assert ragged.executed_flops == ragged.useful_flops == router + 12 * ROW
    assert padded.executed_flops == router + 5 * 3 * ROW  # ceil(12 / 5) places
    assert einsum.one_sided_flops == 2 * 12 * 5 * 3 * 5
    assert einsum.executed_flops == padded.executed_flops + 2 * einsum.one_sided_flops
    both = for_mode(einsum, "forward_backward")
    assert both.executed_flops == 3 * einsum.executed_flops - einsum.one_sided_flops


def test_remoe_by_hand() -> None:
    axes = SIZES | {"top_k": 2}
    costs = {backend: remoe(axes | {"backend": backend}) for backend in ("grouped", "loop", "einsum")}
    for cost in costs.values():
        assert cost.parameters == 3 * EXPERT + 15 + 3
        assert cost.useful_flops is None
        assert cost.min_bytes is None
        assert for_mode(cost, "forward_backward").useful_flops is None
    assert costs["grouped"].executed_flops is None
    assert costs["loop"].executed_flops is None
    assert costs["einsum"].executed_flops == ROUTER + 36 * ROW + 2 * 12 * 3 * 5


@pytest.mark.parametrize(
    ("layer", "changes", "message"),
    [
        (deepseek, {"top_k": 4}, "top_k 4 is more than num_experts 3"),
        (deepseek, {"num_shared_experts": -1}, "num_shared_experts must be a whole number of at least 0, got -1"),
        (remoe, {"top_k": 3}, "top_k 3 is not below num_experts 3"),
    ],
)
def test_axes_out_of_range_are_refused(layer: Any, changes: dict[str, Any], message: str) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=f"^{message}$"):
        layer(DEEPSEEK | changes)

"""Inference with a subset of the experts, against the authors' vectors and the oracle."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from softmoe_ref import MoE, SortedRows
from softmoe_ref.subset import Subset

SIZES = {"d_model": 8, "d_ff": 12, "num_experts": 5, "slots_per_expert": 2, "backend": "fused"}


class ErfExperts(nn.Module):
    """The experts of the authors' vectors, whose GELU is the erf form, in a loop over sorted rows."""

    d_model = 8

    def __init__(self, vectors: Mapping[str, Tensor], num_experts: int) -> None:
        super().__init__()
        self.weights = [
            [vectors[f"expert{e}.{name}"] for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")]
            for e in range(num_experts)
        ]

    def forward(self, rows: SortedRows) -> SortedRows:
        ends = rows.ends.tolist()
        parts = []
        for (w1, b1, w2, b2), start, end in zip(self.weights, [0, *ends[:-1]], ends, strict=True):
            hidden = nn.functional.gelu(nn.functional.linear(rows.rows[start:end], w1, b1))
            parts.append(nn.functional.linear(hidden, w2, b2))
        return SortedRows(torch.cat(parts), rows.ends, rows.full)


@pytest.mark.parametrize(
    ("stem", "slots", "keep", "renormalize"),
    [("chung_softmoe_n5p1", 1, k, renormalize) for k in (1, 2, 3, 4) for renormalize in (False, True)]
    + [("chung_softmoe_n4p2", 2, k, False) for k in (1, 2, 3)],
)
def test_choice_and_output_equal_the_authors_code(
    stem: str, slots: int, keep: int, renormalize: bool, golden: Callable[..., Any], make: Callable[..., MoE]
) -> None:
    vectors = golden(stem)
    name = f"y_keep{keep}_{'renorm' if renormalize else 'norenorm'}"
    num_experts = vectors["phi"].shape[1]
    axes = {**SIZES, "num_experts": num_experts, "slots_per_expert": slots, "normalize": "tokens"}
    layer = make("soft", **axes, active_experts=keep, renormalize_active=renormalize)
    with torch.no_grad():
        layer.router.phi.copy_(vectors["phi"])
        layer.router.scale.copy_(vectors["scale"].squeeze())
    layer.experts = ErfExperts(vectors, num_experts)
    dropped = [sorted(set(range(num_experts)) - set(kept)) for kept in layer.route(vectors["x"]).expert.tolist()]
    assert dropped == [sorted(row) for row in vectors[f"dropped_keep{keep}"].tolist()]
    # their l2 norm has another epsilon: 1e-12 outside the root
    torch.testing.assert_close(layer(vectors["x"]), vectors[name], rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "axes", [{}, {"renormalize_active": True}, {"subset_choice": "random"}, {"normalize": "none"}], ids=str
)
@pytest.mark.parametrize("active", [1, 2, 5])
def test_value_and_every_gradient_equal_the_oracle(
    active: int, axes: dict[str, object], make: Callable[..., MoE], agree: Callable[..., None]
) -> None:
    agree(make("soft", **SIZES, active_experts=active, **axes), 3, 7)


def test_all_experts_are_the_whole_layer(make: Callable[..., MoE]) -> None:
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    whole, subset = make("soft", **SIZES), make("soft", **SIZES, active_experts=5)
    torch.testing.assert_close(subset(x), whole(x), rtol=0, atol=1e-12)


def test_the_other_experts_are_not_computed(make: Callable[..., MoE]) -> None:
    layer = make("soft", **SIZES, active_experts=2)
    x = torch.randn(1, 7, 8, dtype=torch.float64)
    decision: Any = layer.route(x)
    assert isinstance(decision, Subset)
    assert decision.dispatch(x).rows.shape == (2 * 2, 8)
    others = [e for e in range(5) if e not in decision.expert[0].tolist()]
    y = layer(x)
    with torch.no_grad():
        layer.experts.w1[others] = torch.nan
    assert torch.equal(layer(x), y)


def test_what_it_says_of_itself(make: Callable[..., MoE]) -> None:
    layer = make("soft", **SIZES, active_experts=2)
    x = torch.randn(3, 7, 8, dtype=torch.float64)
    decision: Any = layer.route(x)
    assert decision.load().sum() == 3 * 2 * 2
    assert torch.equal(decision.load() > 0, decision.assigned().any(0))
    full: Tensor = make("soft", **SIZES).route(x).importance()
    assert (decision.importance() <= full + 1e-12).all()
    assert (decision.drop_rate(), decision.unrouted_rate(), decision.losses()) == (0.0, 0.0, {})


def test_a_random_subset_is_the_same_at_every_call(make: Callable[..., MoE]) -> None:
    layer = make("soft", **SIZES, active_experts=2, subset_choice="random")
    x = torch.randn(16, 7, 8, dtype=torch.float64)
    state = torch.get_rng_state()
    first: Any = layer.route(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(layer.route(x + 1).expert, first.expert)
    assert len({tuple(kept) for kept in first.expert.tolist()}) > 1

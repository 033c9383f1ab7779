"""The training noise of the named layers: jitter of Switch, noise of V-MoE, and none in evaluation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import softmoe_ref
from softmoe_ref import MoE

SIZES = {"d_model": 8, "d_ff": 12, "num_experts": 4}


def tokens(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def facts_of(layer: MoE, x: Tensor) -> Any:  # noqa: ANN401 - the assignments of a transport
    return layer.route(x).assignments


@pytest.mark.parametrize("name", ["switch", "gshard", "vmoe", "mixtral"])
def test_evaluation_is_deterministic(name: str, make: Callable[..., MoE]) -> None:
    layer, x = make(name, **SIZES).eval(), tokens(4, 16, 8)
    y = layer(x)
    torch.manual_seed(99)
    assert torch.equal(layer(x), y)
    state = torch.get_rng_state()
    layer(x)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["gshard", "mixtral"])
def test_layers_without_noise_train_as_they_evaluate(name: str, make: Callable[..., MoE]) -> None:
    layer, x = make(name, **SIZES), tokens(4, 16, 8)
    assert torch.equal(layer.train()(x), layer.eval()(x))


@pytest.mark.parametrize(("name", "off"), [("switch", {"jitter": 0.0}), ("vmoe", {"noise_std": 0.0})])
def test_noise_can_be_switched_off(name: str, off: dict[str, float], make: Callable[..., MoE]) -> None:
    layer, x = make(name, **SIZES, **off), tokens(4, 16, 8)
    assert torch.equal(layer.train()(x), layer.eval()(x))
    assert "load" not in layer.train().losses(x)


@pytest.mark.parametrize("name", ["switch", "vmoe"])
def test_noise_changes_routing_and_gates_in_training_and_follows_the_seed(name: str, make: Callable[..., MoE]) -> None:
    layer, x = make(name, **SIZES).train(), tokens(8, 64, 8)
    routed = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        routed.append(facts_of(layer, x))
    assert torch.equal(routed[0].expert, routed[1].expert)
    assert torch.equal(routed[0].gates, routed[1].gates)
    evaluated = facts_of(layer.eval(), x)
    for one, other in ((routed[0], routed[2]), (routed[0], evaluated)):
        moved = (one.expert != other.expert).any(2).double().mean()
        assert 0 < float(moved) < 0.5
        assert not torch.equal(one.gates, other.gates)


def test_vmoes_noise_has_the_stated_deviation_and_one_softmax_serves_choice_and_weight(
    make: Callable[..., MoE],
) -> None:
    layer, x = make("vmoe", **SIZES, noise_std=2.0, capacity_factor=None).train(), tokens(16, 256, 8)
    facts = facts_of(layer, x)
    noise = facts.noisy_logits - facts.logits
    assert facts.noise_std == 2.0 / 4
    assert float(noise.detach().std()) == pytest.approx(0.5, rel=0.03)
    assert abs(float(noise.detach().mean())) < 0.02
    torch.testing.assert_close(facts.logits, x @ layer.router.weight)
    torch.testing.assert_close(facts.gates, facts.noisy_logits.softmax(2))
    assert torch.equal(facts.gate, facts.gates.gather(2, facts.expert))
    assert torch.equal(facts.expert, facts.noisy_logits.topk(2, dim=2).indices)


def test_switchs_jitter_multiplies_what_the_router_sees_and_not_what_the_experts_get(make: Callable[..., MoE]) -> None:
    layer = make("switch", d_model=1, d_ff=3, num_experts=2, jitter=0.25, capacity_factor=None, backend="loop").train()
    x = torch.ones(4, 256, 1, dtype=torch.float64)
    decision = layer.route(x)
    seen = (decision.assignments.logits / layer.router.weight).detach()  # what each logit was made from
    torch.testing.assert_close(seen[..., 0], seen[..., 1])
    assert 0.75 <= float(seen.min()) < 0.77
    assert 1.23 < float(seen.max()) <= 1.25
    assert all(torch.all(rows == 1) for rows in decision.dispatch(x))


@pytest.mark.parametrize(("name", "keyword"), [("switch", "jitter"), ("vmoe", "noise_std")])
def test_noise_below_zero_is_refused(name: str, keyword: str) -> None:
    with pytest.raises(ValueError, match=rf"^{keyword} must be a finite number of at least 0, got -1.0$"):
        softmoe_ref.build(name, **SIZES, **{keyword: -1.0})

"""What must hold of a decision and of a layer whatever the tokens are, for sizes and numbers that hypothesis picks."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import variants
from examples import AXES
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from variants import EXAMPLES, LENGTH, VARIATIONS, in_every_backend

from bench import layers
from softmoe_ref import Weights
from softmoe_ref.mixing import Mixing

FEW = settings(max_examples=6, deadline=None, derandomize=True)
MANY = settings(max_examples=40, deadline=None, derandomize=True)


def scaled_tokens(seed: int, power: int, length: int = LENGTH, batch: int = 2) -> Tensor:
    """Return tokens of which many are alike, the lengths of the rest spread over some orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)
    x = variants.tokens(batch=batch, length=length, dtype=torch.float64, seed=seed)
    spread = 10.0 ** (power * torch.rand(batch, length, 1, generator=generator, dtype=torch.float64))
    alike = torch.rand(batch, length, 1, generator=generator) < 0.3
    return torch.where(alike, x[:, :1], x * spread)


SEEDS = st.integers(0, 2**32 - 1)
POWERS = st.integers(-6, 6)
SIZES = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 5), st.integers(1, 4))


@MANY
@given(sizes=SIZES, scale=st.floats(-1e4, 1e4), seed=SEEDS, power=POWERS)
@pytest.mark.parametrize("normalize", ["logits", "tokens", "none"])
@pytest.mark.parametrize("backend", layers.TABLE["soft"].backends)
def test_slots_and_outputs_of_soft_moe_are_convex_combinations(
    backend: str, normalize: str, sizes: tuple[int, int, int, int], scale: float, seed: int, power: int
) -> None:
    batch, length, num_experts, slots = sizes
    axes = {"num_experts": num_experts, "slots_per_expert": slots, "backend": backend, "normalize": normalize}
    layer: Any = variants.build("soft", axes, dtype=torch.float64)
    with torch.no_grad():
        layer.router.scale.fill_(scale)
    x = scaled_tokens(seed, power, length, batch)
    decision: Any = layer.route(x)
    assert isinstance(decision, Weights | Mixing)
    dispatch, combine = decision.dispatch_weights.detach(), decision.combine_weights.detach()
    assert dispatch.shape == combine.shape == (batch, length, num_experts, slots)
    for weights, mixed in ((dispatch, 1), (combine, (2, 3))):
        assert float(weights.min()) >= 0
        total = weights.sum(mixed)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)
    if normalize != "tokens":
        within_the_tokens(decision.dispatch(x).detach(), x)


def within_the_tokens(slots_ERD: Tensor, x: Tensor) -> None:
    """Assert that no coordinate of a slot is outside those of its sequence's tokens."""
    slots_EBPD = slots_ERD.view(len(slots_ERD), len(x), -1, x.shape[2])
    room = 1e-12 * float(x.abs().max())
    assert (slots_EBPD <= x.amax(1)[:, None] + room).all()
    assert (slots_EBPD >= x.amin(1)[:, None] - room).all()


@FEW
@given(seed=SEEDS, power=POWERS)
@pytest.mark.parametrize(("name", "axes"), in_every_backend("soft", AXES["soft"]))
def test_soft_moe_does_not_mind_the_order_of_the_tokens(
    name: str, axes: Mapping[str, object], seed: int, power: int
) -> None:
    layer = variants.build(name, axes, dtype=torch.float64)
    x = scaled_tokens(seed, power)
    order = torch.randperm(LENGTH, generator=torch.Generator().manual_seed(seed))
    y = layer(x).detach()
    torch.testing.assert_close(layer(x[:, order]), y[:, order], rtol=0, atol=1e-12 * float(1 + y.abs().max()))


@FEW
@given(seed=SEEDS, power=POWERS, training=st.booleans())
@pytest.mark.parametrize(("name", "axes"), VARIATIONS)
def test_no_expert_takes_more_than_its_capacity_and_without_one_nothing_is_dropped(
    name: str, axes: Mapping[str, object], seed: int, power: int, training: bool
) -> None:
    layer: Any = variants.build(name, axes, dtype=torch.float64).train(training)
    x = scaled_tokens(seed, power)
    decision = layer.route(x)
    assigned = decision.assigned()
    assert float(assigned.sum(1).max()) <= assigned.shape[1]
    facts = getattr(decision, "assignments", None)
    if facts is None or facts.capacity is None:
        assert decision.drop_rate() == 0
        return
    taken = assigned.view(facts.num_groups, -1, assigned.shape[1]).sum(1)
    assert int(taken.max()) <= facts.capacity
    assert torch.equal(decision.load(), taken.sum(0).double())
    places = facts.place[facts.kept]
    assert 0 <= int(places.min()) <= int(places.max()) < facts.capacity
    cells = (facts.group * facts.num_experts + facts.expert) * facts.capacity + facts.place
    assert len(cells[facts.kept].unique()) == int(facts.kept.sum())  # no two in one place
    dropped = 1 - float(assigned.sum()) / facts.token.numel()
    assert decision.drop_rate() == pytest.approx(dropped, abs=1e-12)


@FEW
@given(seed=SEEDS, power=POWERS)
@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_a_sequence_is_computed_as_if_it_were_alone_and_twice_the_same(
    name: str, axes: Mapping[str, object], seed: int, power: int
) -> None:
    layer = variants.build(name, axes, dtype=torch.float64)
    x = scaled_tokens(seed, power, batch=3)
    y = layer(x).detach()
    assert torch.equal(layer(x), y)
    alone = torch.cat([layer(sequence.unsqueeze(0)) for sequence in x])
    torch.testing.assert_close(y, alone, rtol=0, atol=1e-12 * float(1 + y.abs().max()))


@pytest.mark.parametrize(("name", "axes"), VARIATIONS)
def test_evaluation_draws_no_random_number_and_changes_no_state(name: str, axes: Mapping[str, object]) -> None:
    layer, x = variants.build(name, axes), variants.tokens()
    state = {key: value.clone() for key, value in layer.state_dict().items()}
    before = torch.get_rng_state()
    layer(x)
    layer.losses(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[key]) for key, value in layer.state_dict().items())


@pytest.mark.parametrize(("name", "axes"), VARIATIONS)
def test_all_backends_make_the_same_decision(name: str, axes: Mapping[str, object]) -> None:
    x = variants.tokens(dtype=torch.float64)
    first = {**axes, "backend": layers.TABLE[name].backends[0]} if layers.TABLE[name].backends else axes
    one, other = (variants.build(name, chosen, dtype=torch.float64).route(x) for chosen in (axes, first))
    assert torch.equal(one.assigned(), other.assigned())
    assert torch.equal(one.load(), other.load())
    torch.testing.assert_close(one.importance(), other.importance(), rtol=1e-12, atol=0)
    assert (one.drop_rate(), one.unrouted_rate()) == (other.drop_rate(), other.unrouted_rate())
    torch.testing.assert_close(one.losses(), other.losses())


@pytest.mark.parametrize(("name", "axes"), [one for one in EXAMPLES if one.values[0] != "hash_routing"])
def test_a_second_derivative_is_right_or_refused(name: str, axes: Mapping[str, object]) -> None:
    layer = variants.build(name, axes, dtype=torch.float64)
    x, step = (variants.tokens(batch=1, dtype=torch.float64, seed=seed) for seed in (1, 2))

    def slope(tokens: Tensor) -> tuple[Tensor, Tensor]:
        leaf = tokens.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(layer(leaf).square().sum(), leaf, create_graph=True)
        return gradient.square().sum(), leaf

    try:
        steepness, leaf = slope(x)
        (found,) = torch.autograd.grad(steepness, leaf)
    except RuntimeError as refusal:
        message = str(refusal)
    else:
        near = 1e-6 * step
        expected = (slope(x + near)[0] - slope(x - near)[0]).detach() / 2
        torch.testing.assert_close((found * near).sum(), expected, rtol=1e-4, atol=0)
        return
    assert re.search("has no second derivative|derivative for .* is not implemented", message)

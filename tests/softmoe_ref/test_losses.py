import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import softmoe_ref
from softmoe_ref import MoE, losses

MEGATRON = Path(__file__).parents[1] / "data" / "golden" / "megatron_sinkhorn_zloss.npz"
SIZES = {"d_model": 8, "d_ff": 12, "num_experts": 4}
NOISE_FREE = tuple(name for name in losses.TABLE if name not in losses.NOISE_ONLY)


def gradient(loss: Tensor, leaf: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, leaf)
    return found


# against the authors' code


@pytest.mark.parametrize("top_k", [1, 2])
def test_load_loss_and_its_gradient_equal_the_authors_code(top_k: int, golden: Callable[..., Any]) -> None:
    vectors = golden("aux_losses")
    logits_GNE = vectors["logits"].unsqueeze(0).requires_grad_()
    noise_GNE = vectors["standard_normal_noise"].unsqueeze(0) / 8
    torch.testing.assert_close((logits_GNE + noise_GNE)[0], vectors["logits_noisy"])
    loss = losses.load(logits_GNE, logits_GNE + noise_GNE, noise_std=1 / 8, top_k=top_k)
    torch.testing.assert_close(loss, vectors[f"load_loss_K{top_k}"], rtol=0, atol=1.5e-6)
    expected = vectors[f"grad_load_loss_K{top_k}_wrt_logits"]
    torch.testing.assert_close(gradient(loss, logits_GNE)[0], expected, rtol=0, atol=1.5e-6)


def test_importance_loss_and_its_gradient_equal_the_authors_code(golden: Callable[..., Any]) -> None:
    vectors = golden("aux_losses")
    logits_GNE = vectors["logits"].unsqueeze(0).requires_grad_()
    loss = losses.importance(logits_GNE.softmax(2))
    torch.testing.assert_close(loss, vectors["importance_loss(softmax(logits))"], rtol=0, atol=1.5e-6)
    expected = vectors["grad_importance_wrt_logits"]
    torch.testing.assert_close(gradient(loss, logits_GNE)[0], expected, rtol=0, atol=1.5e-6)


def test_gshard_loss_equals_the_authors_code(golden: Callable[..., Any]) -> None:
    vectors = golden("aux_losses")
    loss = losses.gshard(vectors["logits_noisy"].unsqueeze(0).softmax(2))
    torch.testing.assert_close(loss, vectors["gshard_loss(softmax(logits_noisy))"], rtol=0, atol=1.5e-6)


def test_z_loss_equals_megatrons() -> None:
    with np.load(MEGATRON) as stored:
        logits_GNE, expected = torch.from_numpy(stored["logits"]).unsqueeze(0), torch.from_numpy(stored["zloss_coeff1"])
    torch.testing.assert_close(losses.z(logits_GNE), expected, rtol=0, atol=1.5e-6)


# against loops on Python's numbers


def by_loops(logits: list[list[float]], noisy: list[list[float]], noise_std: float, top_k: int) -> dict[str, float]:
    """Every loss of one group, written out."""
    experts, tokens = len(logits[0]), len(logits)

    def softmax(row: list[float]) -> list[float]:
        powers = [math.exp(value) for value in row]
        return [power / sum(powers) for power in powers]

    def squared_variation(values: list[float]) -> float:
        mean = sum(values) / experts
        return sum((value - mean) ** 2 for value in values) / experts / mean**2

    gates, clean = [softmax(row) for row in noisy], [softmax(row) for row in logits]
    ranked = [sorted(range(experts), key=lambda e, row=row: -row[e]) for row in noisy]  # type: ignore[misc]
    mean_gate = [sum(row[e] for row in gates) / tokens for e in range(experts)]
    chosen = [sum(e in row[:top_k] for row in ranked) / (tokens * top_k) for e in range(experts)]
    first = [sum(e == row[0] for row in ranked) / tokens for e in range(experts)]
    thresholds = [row[order[top_k - 1]] for row, order in zip(noisy, ranked, strict=True)]

    def smooth_load(e: int) -> float:
        distances = [(row[e] - t) / noise_std for row, t in zip(logits, thresholds, strict=True)]
        return sum((1 + math.erf(distance / math.sqrt(2))) / 2 for distance in distances) / tokens

    return {
        "load_balance": experts * sum(f * p for f, p in zip(chosen, mean_gate, strict=True)),
        "gshard": experts**2 * sum(f * p for f, p in zip(first, mean_gate, strict=True)) / experts,
        "z": sum(math.log(sum(math.exp(value) for value in row)) ** 2 for row in logits) / tokens,
        "importance": squared_variation([sum(row[e] for row in clean) for e in range(experts)]),
        "load": squared_variation([smooth_load(e) for e in range(experts)]),
    }


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_a_decisions_losses_are_the_means_over_its_groups_of_the_loops(top_k: int, make: Callable[..., MoE]) -> None:
    layer = make("vmoe", **SIZES, top_k=top_k, group_size=6, capacity_factor=0.5, noise_std=2.0).train()
    layer.router.loss_names = tuple(losses.TABLE)
    facts = layer.route(torch.randn(3, 8, 8, dtype=torch.float64)).assignments
    found = facts.losses()
    assert list(found) == list(losses.TABLE)
    groups = [
        by_loops(logits.tolist(), noisy.tolist(), 2.0 / 4, top_k)
        for logits, noisy in zip(facts.logits.detach(), facts.noisy_logits.detach(), strict=True)
    ]
    assert len(groups) == 4
    for name, loss in found.items():
        assert loss.item() == pytest.approx(sum(group[name] for group in groups) / 4, abs=1e-10), name


# properties


def test_losses_of_even_routing_are_at_their_best_and_have_a_finite_gradient() -> None:
    logits_GNE = torch.zeros(1, 8, 4, dtype=torch.float64, requires_grad=True)
    expert_GNK = torch.arange(8).view(1, 8, 1) % 4
    gates_GNE = logits_GNE.softmax(2)
    assert losses.load_balance(gates_GNE, expert_GNK).item() == pytest.approx(1)
    assert losses.load_balance(gates_GNE, torch.cat([expert_GNK, (expert_GNK + 1) % 4], 2)).item() == pytest.approx(1)
    assert losses.importance(gates_GNE).item() == 0
    assert losses.load(logits_GNE, logits_GNE, noise_std=0.5, top_k=1).item() == 0
    assert losses.z(logits_GNE).item() == pytest.approx(math.log(4) ** 2)
    for loss in (losses.importance(gates_GNE), losses.load(logits_GNE, logits_GNE, noise_std=0.5, top_k=1)):
        assert torch.isfinite(gradient(loss, logits_GNE)).all()


def test_losses_of_a_collapsed_router_reach_their_worst() -> None:
    gates_GNE = torch.zeros(2, 8, 4, dtype=torch.float64)
    gates_GNE[:, :, 2] = 1
    expert_GNK = torch.full((2, 8, 1), 2)
    assert losses.load_balance(gates_GNE, expert_GNK).item() == 4  # E
    assert losses.gshard(gates_GNE).item() == 4
    assert losses.importance(gates_GNE).item() == pytest.approx(3)  # E - 1


def test_groups_that_are_uneven_on_their_own_are_not_even_together() -> None:
    gates_GNE = torch.eye(2, dtype=torch.float64).unsqueeze(1).expand(2, 8, 2)  # each group goes to its own expert
    assert losses.importance(gates_GNE).item() == 1
    assert losses.importance(gates_GNE.reshape(1, 16, 2)).item() == 0
    assert losses.gshard(gates_GNE).item() == 2
    assert losses.gshard(gates_GNE.reshape(1, 16, 2)).item() == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 9), st.integers(1, 3), st.data())
def test_no_loss_depends_on_how_experts_or_tokens_are_numbered(
    seed: int, experts: int, tokens: int, groups: int, data: st.DataObject
) -> None:
    top_k = data.draw(st.integers(1, experts))
    experts_as, tokens_as = data.draw(st.permutations(range(experts))), data.draw(st.permutations(range(tokens)))
    generator = torch.Generator().manual_seed(seed)
    logits_GNE, noise_GNE = torch.randn(2, groups, tokens, experts, generator=generator, dtype=torch.float64)

    def every(logits: Tensor, noisy: Tensor) -> list[float]:
        gates, chosen = noisy.softmax(2), noisy.topk(top_k, dim=2).indices
        return [
            losses.load_balance(gates, chosen).item(),
            losses.gshard(gates).item(),
            losses.z(logits).item(),
            losses.importance(gates).item(),
            losses.load(logits, noisy, noise_std=1.0, top_k=top_k).item(),
        ]

    found = every(logits_GNE, logits_GNE + noise_GNE)
    renumbered = [values[:, tokens_as][:, :, experts_as] for values in (logits_GNE, logits_GNE + noise_GNE)]
    assert every(*renumbered) == pytest.approx(found, abs=1e-12)
    assert all(loss >= 0 for loss in found)


@pytest.mark.parametrize("name", NOISE_FREE)
@pytest.mark.parametrize("top_k", [1, 2])
def test_every_loss_reaches_the_routers_weight(name: str, top_k: int, make: Callable[..., MoE]) -> None:
    layer = make("token_choice", **SIZES, top_k=top_k, capacity_factor=0.5, loss_names=(name,))
    x = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = layer.losses(x)
    assert list(found) == [name]
    assert found[name].shape == ()
    assert float(gradient(found[name], layer.router.weight).abs().max()) > 1e-3


@pytest.mark.parametrize("name", NOISE_FREE)
def test_losses_pass_gradcheck_down_to_the_routers_weight(name: str, make: Callable[..., MoE]) -> None:
    layer = make("token_choice", d_model=3, d_ff=2, num_experts=4, top_k=2, loss_names=(name,))
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = layer.router.weight.detach().clone().requires_grad_()

    def loss(weight: Tensor) -> Tensor:
        layer.router.weight = weight
        return layer.losses(x)[name]

    del layer.router.weight
    assert torch.autograd.gradcheck(loss, (weight,))


def test_load_loss_passes_gradcheck() -> None:
    logits_GNE = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise_GNE = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(logits: Tensor) -> Tensor:
        return losses.load(logits, logits + noise_GNE, noise_std=1.0, top_k=2)

    assert torch.autograd.gradcheck(loss, (logits_GNE.requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_losses_are_computed_in_at_least_float32(dtype: torch.dtype, make: Callable[..., MoE]) -> None:
    layer = make("vmoe", **SIZES, dtype=dtype)
    layer.router.loss_names = tuple(losses.TABLE)
    found = layer.losses(torch.randn(2, 8, 8, dtype=dtype))
    assert {loss.dtype for loss in found.values()} == {torch.float32}
    assert all(torch.isfinite(loss) for loss in found.values())


@pytest.mark.parametrize("backend", ["einsum", "indexed", "grouped", "loop"])
def test_a_decision_gives_its_losses_whatever_the_backend(backend: str, make: Callable[..., MoE]) -> None:
    x = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = make("token_choice", **SIZES, top_k=2, loss_names=NOISE_FREE).losses(x)
    assert make("token_choice", **SIZES, top_k=2, loss_names=NOISE_FREE, backend=backend).losses(x) == expected


def test_a_router_without_losses_keeps_no_logits(make: Callable[..., MoE]) -> None:
    facts = make("token_choice", **SIZES).route(torch.randn(2, 8, 8, dtype=torch.float64)).assignments
    assert (facts.logits, facts.noisy_logits) == (None, None)
    assert facts.losses() == {}


# what is refused


def test_an_unknown_loss_is_refused_with_the_allowed_ones() -> None:
    message = r"^loss_names must be one of load_balance, gshard, z, importance, load, got 'balance'$"
    with pytest.raises(ValueError, match=message):
        softmoe_ref.build("token_choice", **SIZES, loss_names=("balance",))


def test_the_load_loss_is_refused_without_noise(make: Callable[..., MoE]) -> None:
    with pytest.raises(ValueError, match=r"^noise_std must be above 0 for loss load, got 0.0$"):
        softmoe_ref.build("token_choice", **SIZES, loss_names=("load",))
    facts = make("vmoe", **SIZES).eval().route(torch.randn(2, 8, 8, dtype=torch.float64)).assignments
    with pytest.raises(ValueError, match=r"^loss load needs a decision made with training noise, got one without$"):
        losses.TABLE["load"](facts)


def test_a_loss_on_logits_is_refused_where_none_were_kept(make: Callable[..., MoE]) -> None:
    facts = make("token_choice", **SIZES).route(torch.randn(2, 8, 8, dtype=torch.float64)).assignments
    with pytest.raises(ValueError, match=r"^this loss needs a decision that kept its logits, got one whose router "):
        losses.TABLE["z"](facts)

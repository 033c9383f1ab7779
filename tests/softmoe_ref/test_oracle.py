import time
from collections.abc import Callable

import pytest
import torch

import softmoe_ref
from softmoe_ref import MoE, oracle


def identity_experts(num_experts: int, d_model: int, factors: list[float]) -> dict[str, torch.Tensor]:
    """Experts that multiply large positive tokens by their factor: GELU leaves large positive numbers alone."""
    eye = torch.eye(d_model, dtype=torch.float64).repeat(num_experts, 1, 1)
    scale = torch.tensor(factors, dtype=torch.float64).view(-1, 1, 1)
    zeros = torch.zeros(num_experts, d_model, dtype=torch.float64)
    return {"experts.w1": eye, "experts.b1": zeros, "experts.w2": eye * scale, "experts.b2": zeros}


def test_tokens_choice_by_hand() -> None:
    # the router reads the logits off the token: expert 0 for tokens 0, 1, 2; one place; token 2 is the surest
    parameters = identity_experts(2, 2, [1.0, 10.0]) | {"router.weight": torch.eye(2, dtype=torch.float64)}
    x = torch.tensor([[[51.0, 50.0], [52.0, 50.0], [53.0, 50.0], [50.0, 51.0]]], dtype=torch.float64)
    axes = {
        "top_k": 1,
        "capacity_factor": 0.5,
        "group_size": None,
        "batch_priority": False,
        "renormalize": False,
        "capacity_rounding": "round",
    }
    gates = torch.sigmoid(torch.tensor([1.0, 2.0, 3.0, 1.0], dtype=torch.float64))
    truth = oracle.forward_with("token_choice", parameters, x, axes)
    assert truth.assigned.tolist() == [[True, False], [False, False], [False, False], [False, True]]
    torch.testing.assert_close(truth.y[0, 0], gates[0] * x[0, 0])
    torch.testing.assert_close(truth.y[0, 3], gates[3] * 10 * x[0, 3])
    assert torch.all(truth.y[0, 1:3] == 0)
    truth = oracle.forward_with("token_choice", parameters, x, {**axes, "batch_priority": True})
    assert truth.assigned.tolist() == [[False, False], [False, False], [True, False], [False, True]]
    truth = oracle.forward_with("token_choice", parameters, x, {**axes, "renormalize": True})
    torch.testing.assert_close(truth.y[0, 0], x[0, 0])


def test_experts_choice_by_hand() -> None:
    parameters = identity_experts(2, 2, [1.0, 10.0]) | {"router.weight": torch.eye(2, dtype=torch.float64)}
    x = torch.tensor([[[51.0, 50.0], [53.0, 50.0], [52.0, 50.0], [54.0, 50.0]]], dtype=torch.float64)
    axes = {"capacity_factor": 1.0, "group_size": None, "capacity_rounding": "round"}
    truth = oracle.forward_with("expert_choice", parameters, x, axes)
    assert truth.assigned.tolist() == [[False, True], [True, False], [False, True], [True, False]]
    gate = torch.sigmoid(torch.tensor(-1.0, dtype=torch.float64))
    torch.testing.assert_close(truth.y[0, 0], gate * 10 * x[0, 0])


def test_soft_by_hand() -> None:
    # phi = 0 makes every weight equal: all slots are the mean token, all outputs the mean of the experts
    parameters = identity_experts(2, 2, [1.0, 3.0])
    parameters |= {
        "router.phi": torch.zeros(2, 2, 2, dtype=torch.float64),
        "router.scale": torch.tensor(1.0, dtype=torch.float64),
    }
    x = torch.tensor([[[50.0, 60.0], [70.0, 90.0]]], dtype=torch.float64)
    truth = oracle.forward_with("soft", parameters, x, {"normalize": "logits"})
    torch.testing.assert_close(truth.y[0], 2 * x[0].mean(0).expand(2, 2))
    assert truth.assigned.tolist() == [[True, True], [True, True]]


def test_dense_by_hand() -> None:
    x = torch.tensor([[[50.0, 60.0], [70.0, 90.0]]], dtype=torch.float64)
    truth = oracle.forward_with("dense", identity_experts(1, 2, [3.0]), x, {})
    torch.testing.assert_close(truth.y, 3 * x)
    assert truth.assigned.tolist() == [[True], [True]]


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("soft", {"slots_per_expert": 6, "backend": "fused"}),
        ("token_choice", {"top_k": 2, "capacity_factor": 1.0, "backend": "indexed"}),
        ("expert_choice", {"backend": "indexed"}),
    ],
)
def test_it_is_quick_enough_to_check_a_real_layer(name: str, axes: dict[str, object]) -> None:
    torch.manual_seed(0)
    layer = softmoe_ref.build(name, d_model=384, d_ff=1536, num_experts=32, **axes)
    assert isinstance(layer, MoE)
    x = torch.randn(4, 196, 384)
    started = time.process_time()
    truth = oracle.forward(layer, x)
    assert time.process_time() - started < 20  # about 1 s; the limit only catches another order of growth
    assert not truth.y.requires_grad
    with torch.no_grad():
        y, assigned = layer(x), layer.route(x).assigned()
    same = (assigned == truth.assigned).all(1)
    assert float(same.double().mean()) > 0.99
    error = (y.double() - truth.y).flatten(0, 1)[same].abs().max()
    assert float(error) < 1e-5


def test_it_does_not_touch_the_layer(make: Callable[..., MoE]) -> None:
    layer = make("soft", d_model=8, d_ff=12, num_experts=3, slots_per_expert=2, dtype=torch.float32)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    oracle.forward(layer, torch.randn(2, 4, 8))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert all(parameter.grad is None for parameter in layer.parameters())


def test_it_refuses_what_it_does_not_know(make: Callable[..., MoE]) -> None:
    layer = make("dense", d_model=8, d_ff=12)
    layer.name = "mystery"
    with pytest.raises(ValueError, match=r"^no oracle for layer 'mystery'$"):
        oracle.forward(layer, torch.randn(2, 4, 8))


def test_deepseek_by_hand() -> None:
    # the router reads the logits off the token; the bias makes expert 2 everybody's first choice
    parameters = identity_experts(3, 3, [1.0, 10.0, 100.0]) | {"router.weight": torch.eye(3, dtype=torch.float64) / 50}
    x = torch.tensor([[[100.0, 50.0, 50.0]]], dtype=torch.float64)
    axes = {"top_k": 2, "expert_groups": 1, "top_groups": 1, "score": "sigmoid", "route_scale": 2.0}
    bias = torch.tensor([0.0, 0.0, 5.0])
    truth = oracle.forward_with("deepseek", parameters, x, {**axes, "bias": bias})
    assert truth.assigned.tolist() == [[True, False, True]]
    first, third = torch.sigmoid(torch.tensor([2.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(truth.y[0, 0], 2 * (first + 100 * third) / (first + third) * x[0, 0])


def test_balanced_assignment_by_hand() -> None:
    # both tokens prefer expert 0, the second by less
    parameters = identity_experts(2, 2, [1.0, 10.0]) | {"router.weight": torch.eye(2, dtype=torch.float64)}
    x = torch.tensor([[[53.0, 50.0], [51.0, 50.0]]], dtype=torch.float64)
    gates = torch.sigmoid(torch.tensor([53.0, 50.0], dtype=torch.float64))
    axes = {"assignment": "auction", "training": True}
    truth = oracle.forward_with("balanced_assignment", parameters, x, axes)
    assert truth.assigned.tolist() == [[True, False], [False, True]]
    torch.testing.assert_close(truth.y[0, 1], gates[1] * 10 * x[0, 1] + (1 - gates[1]) * x[0, 1])
    truth = oracle.forward_with("balanced_assignment", parameters, x, {**axes, "training": False})
    assert truth.assigned.tolist() == [[True, False], [True, False]]
    truth = oracle.forward_with("balanced_assignment", parameters, x, {**axes, "assignment": "sinkhorn"})
    assert truth.assigned.tolist() == [[True, False], [False, True]]


def test_remoe_by_hand() -> None:
    parameters = identity_experts(2, 2, [1.0, 10.0]) | {
        "router.weight": torch.eye(2, dtype=torch.float64),
        "router.bias": torch.tensor([-51.0, -49.0], dtype=torch.float64),
    }
    x = torch.tensor([[[54.0, 50.0], [50.0, 48.0]]], dtype=torch.float64)
    truth = oracle.forward_with("remoe", parameters, x, {})
    assert truth.assigned.tolist() == [[True, True], [False, False]]
    torch.testing.assert_close(truth.y[0, 0], 3 * x[0, 0] + 10 * x[0, 0])
    assert torch.all(truth.y[0, 1] == 0)

"""Experts with equally many rows each, on a CPU, against torch's own path through the same weights."""

import pytest
import torch

from softmoe_ref import Experts, cpu_stacked
from softmoe_ref.cpu_experts import Stack

SHAPE = (5, 7, 6)  # experts, rows, width


def gradients(y: torch.Tensor, cotangent: torch.Tensor, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(torch.autograd.grad((y * cotangent).sum(), leaves))


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize("activated", [1, 2**19])
def test_value_and_every_gradient_are_those_of_torchs_path(
    activation: str, activated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_stacked, "ACTIVATED_NUMBERS", activated)
    torch.manual_seed(0)
    experts = Experts(5, 6, 8, activation=activation, dtype=torch.float64)
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(SHAPE, dtype=torch.float64)
    leaves = [x, *experts.parameters()]
    ours, theirs = experts(x), experts._stacked(x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for a, b in zip(gradients(ours, cotangent, leaves), gradients(theirs, cotangent, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("converted", [1, 100, 2**21])
def test_weights_of_another_dtype_are_converted_a_few_at_a_time(
    converted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_stacked, "CONVERTED_NUMBERS", converted)
    torch.manual_seed(0)
    narrow = Experts(5, 6, 8, dtype=torch.bfloat16)
    wide = Experts(5, 6, 8)
    wide.load_state_dict(narrow.state_dict())
    x, cotangent = torch.randn(SHAPE), torch.randn(SHAPE)
    y = cpu_stacked.run(x, Stack(narrow.w1, narrow.b1, narrow.w2, narrow.b2), "gelu")
    torch.testing.assert_close(y, wide(x), rtol=1e-6, atol=1e-6)
    found = gradients(y, cotangent, list(narrow.parameters()))
    expected = gradients(wide(x), cotangent, list(wide.parameters()))
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.bfloat16
        torch.testing.assert_close(a, b.bfloat16(), rtol=1e-2, atol=1e-6)


def test_frozen_weights_get_no_gradient() -> None:
    torch.manual_seed(0)
    experts = Experts(5, 6, 8)
    experts.w1.requires_grad_(requires_grad=False)
    experts.b2.requires_grad_(requires_grad=False)
    experts(torch.randn(SHAPE)).sum().backward()
    assert [name for name, p in experts.named_parameters() if p.grad is None] == ["w1", "b2"]


def test_a_second_derivative_is_refused() -> None:
    x = torch.randn(SHAPE, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"no second derivative: call it without create_graph=True$"):
        torch.autograd.grad(Experts(5, 6, 8)(x).sum(), x, create_graph=True)

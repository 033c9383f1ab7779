"""Every layer in every backend and number format, held against the truth in float64."""

from collections.abc import Mapping

import pytest
import torch
import variants
from variants import EXAMPLES, VARIATIONS

from softmoe_ref import MoE, experts, oracle

TOLERANCE: Mapping[torch.dtype, float] = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""How far an output may be from the truth for the same rounded weights and tokens, as a share of the largest output."""


def assert_true(layer: MoE, dtype: torch.dtype) -> None:
    x = variants.tokens(dtype=dtype)
    y, gradients = variants.run(layer, x)
    truth = oracle.forward(layer, x)
    alike = (layer.route(x).assigned() == truth.assigned).all(1)
    assert alike.double().mean() >= 0.95  # two gates may be closer than the format can tell
    if dtype == torch.float32:
        assert alike.all()
    error = (y.double() - truth.y).flatten(0, 1)[alike].abs().max()
    assert error <= TOLERANCE[dtype] * truth.y.abs().max()
    assert y.dtype == dtype
    of_dtype = dict(layer.named_parameters()) | {"x": x}
    for name, gradient in gradients.items():
        assert gradient.dtype == of_dtype[name].dtype
        assert gradient.isfinite().all()


@pytest.mark.parametrize(("name", "axes"), VARIATIONS)
def test_outputs_are_true_and_gradients_finite(name: str, axes: dict[str, object]) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert_true(variants.build(name, axes, dtype=dtype), dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_so_they_are_where_the_cpu_has_units_for_half_precision(
    name: str, axes: dict[str, object], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experts, "_cpu_computes", lambda _: True)
    assert_true(variants.build(name, axes, dtype=dtype), dtype)


@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_tokens_may_come_in_another_format_than_the_weights(name: str, axes: dict[str, object]) -> None:
    layer = variants.build(name, axes, dtype=torch.bfloat16)
    assert_true(layer, torch.float32)


@pytest.mark.parametrize(("name", "axes"), EXAMPLES)
def test_gradients_are_optional(name: str, axes: dict[str, object]) -> None:
    layer, x = variants.build(name, axes), variants.tokens()
    expected = layer(x).detach()
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            assert torch.equal(layer(x), expected)
    frozen = layer.requires_grad_(requires_grad=False)
    assert not frozen(x).requires_grad
    leaf = x.clone().requires_grad_()
    frozen(leaf).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()

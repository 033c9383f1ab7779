"""Calls of layers, of other packages' too, to be timed."""

from __future__ import annotations

import importlib
from collections.abc import Callable  # noqa: TC003

import torch
from torch import Tensor, nn

import softmoe_ref

MODES = ("forward", "forward+backward")


def of(layer: nn.Module, x: Tensor, mode: str) -> Callable[[], object]:
    """Return a call of `layer` on the tokens `x`."""
    if mode == "forward":
        layer.eval()

        @torch.inference_mode()
        def forward() -> Tensor:
            output: Tensor = layer(x)
            return output

        return forward
    layer.train()
    leaf, cotangent = x.clone().requires_grad_(), torch.randn_like(x)

    def both() -> None:
        layer(leaf).backward(cotangent)
        for parameter in (leaf, *layer.parameters()):
            parameter.grad = None

    return both


def ours(name: str, **axes: object) -> nn.Module:
    """Return a layer of ours with the weights of seed 0."""
    torch.manual_seed(0)
    return softmoe_ref.build(name, **axes)


def peer(target: str, **axes: object) -> nn.Module | None:
    """Return another package's layer through our adapter `module:factory`, None if the package is not installed."""
    module, _, name = target.partition(":")
    factory = getattr(importlib.import_module(f"softmoe_ref.peers.{module}"), name)
    torch.manual_seed(0)
    try:
        layer: nn.Module = factory(**axes)
    except ModuleNotFoundError:
        return None
    return layer

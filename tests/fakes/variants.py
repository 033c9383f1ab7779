"""Every layer of ours in every backend, made from the tables, so that a new layer is tested without a new line."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from examples import AXES
from torch import Tensor

import softmoe_ref
from bench import axes as harness
from bench import layers
from softmoe_ref import MoE

D_MODEL, D_FF, LENGTH = 8, 16, 64
"""Small widths that every backend takes, and the length of sequence that the examples are made for."""

OTHER: Mapping[str, tuple[object, ...]] = {
    "top_k": (4,),
    "capacity_factor": (None, 0.5),
    "group_size": (32,),
    "num_shared_experts": (0,),
    "expert_groups": (2,),
    "batch_priority": (True,),
    "renormalize": (True,),
}
"""Further values of the axes whose values are no words."""

Gradients = dict[str, Tensor]


def _further(name: str) -> Iterator[dict[str, object]]:
    """Yield the example's axes with one of them at another value, for each value that makes sense."""
    row = layers.TABLE[name]
    shape = {"batch_size": 2, "seq_len": LENGTH, "d_model": D_MODEL, "d_ff": D_FF}
    defaults: dict[str, Any] = {axis: harness.AXES[axis].default for axis in row.of_case} | shape
    for axis in row.axes:
        for value in harness.AXES[axis].allowed or OTHER.get(axis, ()):
            axes = {**AXES[name], axis: value}
            if value != harness.AXES[axis].default and row.impossible({**defaults, **axes}) is None:
                yield axes


def in_every_backend(name: str, axes: Mapping[str, object]) -> list[Any]:
    """Return a parameter (name, axes) for each backend of the layer.

    But `compile`, which takes seconds for each: it is the einsum through torch's compiler, and has a test of its own.
    """
    words = [f"{axis}={value}" for axis, value in axes.items() if AXES[name].get(axis, ...) != value]
    backends: list[dict[str, object]] = [
        {"backend": backend} for backend in layers.TABLE[name].backends if backend != "compile"
    ]
    return [
        pytest.param(name, {**axes, **chosen}, id=" ".join([name, *map(str, chosen.values()), *words]))
        for chosen in backends or [{}]
    ]


EXAMPLES = [parameter for name in softmoe_ref.TABLE for parameter in in_every_backend(name, AXES[name])]
"""(name, axes) of every layer in every backend."""

VARIATIONS = EXAMPLES + [
    parameter for name in softmoe_ref.TABLE for axes in _further(name) for parameter in in_every_backend(name, axes)
]
"""The same, and each axis by itself at each further value."""


def build(name: str, axes: Mapping[str, object], *, dtype: torch.dtype = torch.float32, **sizes: int) -> MoE:
    """Return a layer in evaluation with weights as drawn, but for biases large enough to matter."""
    torch.manual_seed(0)
    layer = softmoe_ref.build(name, **{"d_model": D_MODEL, "d_ff": D_FF, **sizes}, **axes, dtype=torch.float64)
    assert isinstance(layer, MoE)
    with torch.no_grad():
        for weight, parameter in layer.named_parameters():
            if weight.endswith((".b1", ".b2")):
                parameter.normal_(std=0.1)
    return layer.to(dtype).eval()


def tokens(
    *, batch: int = 2, length: int = LENGTH, width: int = D_MODEL, dtype: torch.dtype = torch.float32, seed: int = 1
) -> Tensor:
    """Return standard normal tokens, the same in every dtype but for the rounding."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, length, width, generator=generator, dtype=torch.float64).to(dtype)


def run(layer: MoE, x: Tensor) -> tuple[Tensor, Gradients]:
    """Return the output and its gradients by name, for a random cotangent; 0 where nothing depends on a weight."""
    leaf = x.detach().clone().requires_grad_()
    y = layer(leaf)
    cotangent = tokens(batch=x.shape[0], length=x.shape[1], width=x.shape[2], dtype=y.dtype, seed=2)
    leaves = {"x": leaf, **dict(layer.named_parameters())}
    found = torch.autograd.grad(y, list(leaves.values()), cotangent, allow_unused=True, materialize_grads=True)
    return y.detach(), dict(zip(leaves, found, strict=True))

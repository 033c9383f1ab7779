"""What the tests of the layers share: golden files, layers with rich weights, and gradients by name."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import softmoe_ref
from softmoe_ref import MoE, Truth, oracle

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
EXPERT_NAMES = {
    "experts.w1": "Mlp/Dense_0/kernel",
    "experts.b1": "Mlp/Dense_0/bias",
    "experts.w2": "Mlp/Dense_1/kernel",
    "experts.b2": "Mlp/Dense_1/bias",
}
SOFT_NAMES = {"router.phi": "Router/mu", "router.scale": "Router/scale", **EXPERT_NAMES}
SPARSE_NAMES = {"router.weight": "Router/dense/kernel", **EXPERT_NAMES}

Gradients = dict[str, Tensor]


class Golden:
    """One golden file: `meta`, its arrays by name as tensors, and a layer filled with its parameters."""

    def __init__(self, stem: str) -> None:
        with np.load(GOLDEN / f"{stem}.npz") as stored:
            self.meta: dict[str, Any] = json.loads(str(stored["meta_json"])) if "meta_json" in stored else {}
            self.arrays = {name: stored[name] for name in stored.files if name != "meta_json"}
        self.names = SOFT_NAMES if self.meta.get("kind") in ("soft", "ablation") else SPARSE_NAMES

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def layer(self, name: str, **axes: object) -> MoE:
        sizes = {"d_model": self.meta["d"], "d_ff": self.meta["mlp_dim"], "num_experts": self.meta["E"]}
        layer = softmoe_ref.build(name, **sizes, **axes)
        own = layer.state_dict()
        layer.load_state_dict({ours: self[f"param/{theirs}"] for ours, theirs in self.names.items() if ours in own})
        assert isinstance(layer, MoE)
        return layer

    def gradients(self, prefix: str) -> Gradients:
        return {"x": self[f"{prefix}/x"]} | {ours: self[f"{prefix}/{theirs}"] for ours, theirs in self.names.items()}


def _gradients(y: Tensor, cotangent: Tensor, parameters: Mapping[str, Tensor], x: Tensor) -> Gradients:
    found = torch.autograd.grad((y * cotangent).sum(), [*parameters.values(), x], allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip({**parameters, "x": x}.items(), found, strict=True)
    }


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    return Golden


@pytest.fixture
def run() -> Callable[[MoE, Tensor, Tensor], tuple[Tensor, Gradients]]:
    """Return the output of a layer and the gradients of sum(y * cotangent) by name."""

    def run(layer: MoE, x: Tensor, cotangent: Tensor) -> tuple[Tensor, Gradients]:
        leaf = x.detach().clone().requires_grad_()
        y = layer(leaf)
        return y.detach(), _gradients(y, cotangent, dict(layer.named_parameters()), leaf)

    return run


@pytest.fixture
def run_oracle() -> Callable[[MoE, Tensor, Tensor], tuple[Truth, Gradients]]:
    """Return the truth of a layer in float64 and its gradients by name."""

    def run(layer: MoE, x: Tensor, cotangent: Tensor) -> tuple[Truth, Gradients]:
        parameters = {name: p.detach().double().requires_grad_() for name, p in layer.named_parameters()}
        leaf = x.detach().double().requires_grad_()
        truth = oracle.forward_with(layer.name, parameters, leaf, oracle.config(layer))
        return truth, _gradients(truth.y, cotangent, parameters, leaf)

    return run


@pytest.fixture
def make() -> Callable[..., MoE]:
    """Build a float64 layer whose weights, biases and scale are all large enough to matter."""

    def make(name: str, *, seed: int = 0, dtype: torch.dtype = torch.float64, **axes: object) -> MoE:
        torch.manual_seed(seed)
        layer = softmoe_ref.build(name, **axes, dtype=dtype)
        assert isinstance(layer, MoE)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(0.7 * torch.randn(parameter.shape, dtype=torch.float64))
        return layer

    return make


@pytest.fixture
def agree(
    run: Callable[..., tuple[Tensor, Gradients]], run_oracle: Callable[..., tuple[Truth, Gradients]]
) -> Callable[..., None]:
    """Assert that a float64 layer and its oracle have the same decision, value and gradients, each by name."""

    def agree(layer: MoE, batch: int, length: int, *, tolerance: float = 1e-10) -> None:
        generator = torch.Generator().manual_seed(7)
        shape = (batch, length, layer.experts.d_model)
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        cotangent = torch.randn(shape, generator=generator, dtype=torch.float64)
        y, gradients = run(layer, x, cotangent)
        truth, true_gradients = run_oracle(layer, x, cotangent)
        assert torch.equal(layer.route(x).assigned(), truth.assigned)
        torch.testing.assert_close(y, truth.y.detach(), rtol=0, atol=tolerance)
        assert gradients.keys() == true_gradients.keys()
        for name, gradient in gradients.items():
            scale = max(1.0, float(true_gradients[name].abs().max()))
            torch.testing.assert_close(
                gradient, true_gradients[name], rtol=0, atol=tolerance * scale, msg=lambda m, n=name: f"{n}: {m}"
            )

    return agree

"""What is measured: a layer with weights and tokens on a device, and one call of it."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench import costs, images, inputs
from bench.axes import AXES
from bench.worker.device import processes_before

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from bench.axes import AxisValue
    from bench.records import Task

ROTATION = 4
"""Calls take turns over this many batches, so that no routing is learnt by heart by caches or branch predictors."""


RATE = 1e-9
"""Learning rate of training steps; AdamW moves a weight by about as much in each."""


class UnsupportedError(RuntimeError):
    """The case cannot run here for a reason that is nobody's mistake."""


@dataclass(frozen=True)
class Subject:
    """A layer or model, the batches it is called with, and the gradient that comes back from above.

    `compiled` belongs to launch compile, `optimizer` to mode train_step; `processes_before` are those that held a GPU
    before this one did, None where nobody looked.
    """

    layer: torch.nn.Module
    batches: tuple[torch.Tensor, ...]
    cotangent: torch.Tensor
    device: torch.device
    mode: str
    launch: str
    cold: bool
    compiled: Callable[[torch.Tensor], torch.Tensor] | None = None
    optimizer: torch.optim.Optimizer | None = None
    processes_before: frozenset[int] | None = None

    @property
    def run(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The layer as it is launched."""
        return self.layer if self.compiled is None else self.compiled

    def call(self, turn: int) -> torch.Tensor:
        """Runs the layer once on the batch whose turn it is, with backward pass and optimizer step as the mode says."""
        x = self.batches[turn % len(self.batches)]
        if self.mode == "forward":
            with torch.inference_mode():
                return self.run(x)
        output = self.run(x)
        output.backward(self.cotangent)  # type: ignore[no-untyped-call]
        if self.optimizer is not None:
            self.optimizer.step()
        for leaf in (x, *self.layer.parameters()):
            leaf.grad = None
        return output.detach()

    def synchronize(self) -> None:
        """Waits until the device has done what was asked of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def build(task: Task) -> Subject:
    """Returns the subject of a task: weights drawn on the CPU from the seed, then moved, so that devices agree.

    Raises:
        UnsupportedError: the device or number format is not there, or the layer does not know the backend here.
    """
    case = task.case
    device = torch.device(str(case["device"]))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError("torch sees no CUDA device")
    before = processes_before() if device.type == "cuda" else None
    if case["threads"] is not None:
        torch.set_num_threads(int(case["threads"]))
    torch.manual_seed(int(case["seed"] or 0))
    layer = resolve(task.target)(**keywords(task))
    if not isinstance(layer, torch.nn.Module):
        raise TypeError(f"{task.target} returned {type(layer).__name__}, expected a torch.nn.Module")
    dtype: torch.dtype = getattr(torch, str(case["dtype"]))
    forward_only = case["mode"] == "forward"
    layer = layer.to(device=device, dtype=dtype).train(not forward_only)
    of_images = "variant" in case
    batches = tuple(
        (pictures(case, turn) if of_images else tokens(case, layer, turn)).to(device=device, dtype=dtype)
        for turn in range(ROTATION)
    )
    with torch.no_grad():
        shape = tuple(layer(batches[0]).shape)
    _check_shape(task.target, tuple(batches[0].shape), shape)
    for batch in batches:
        batch.requires_grad_(not forward_only and not of_images)  # nobody asks for the gradient of a photograph
    cotangent = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(batches[0])
    launch = str(case["launch"])
    return Subject(
        layer,
        batches,
        cotangent.detach(),
        device,
        str(case["mode"]),
        launch,
        case["cache"] == "cold",
        torch.compile(layer, dynamic=False) if launch == "compile" else None,
        optimizer(str(case["optimizer"]), layer, device) if case["mode"] == "train_step" else None,
        before,
    )


def optimizer(name: str, layer: torch.nn.Module, device: torch.device) -> torch.optim.Optimizer:
    """Returns the optimizer of a training step, in torch's fused form.

    Its rate is so small that a thousand steps leave the routing as it is; the work does not depend on it.
    """
    parameters = list(layer.parameters())
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=RATE, fused=True)
    return torch.optim.AdamW(parameters, lr=RATE, fused=True, capturable=device.type == "cuda")


def _check_shape(target: str, given: tuple[int, ...], returned: tuple[int, ...]) -> None:
    """Raises ValueError unless tokens became tokens, or images one row of logits each."""
    if len(given) == 4 and (len(returned) != 2 or returned[0] != given[0]):
        raise ValueError(f"{target} maps images {given} to {returned}, expected ({given[0]}, classes)")
    if len(given) == 3 and returned != given:
        raise ValueError(f"{target} maps {given} to {returned}, expected the same shape")


def pictures(case: Mapping[str, AxisValue], turn: int) -> torch.Tensor:
    """Returns a batch of images (B, 3, pixels, pixels), float32 on the CPU; another one for each turn."""
    array = images.make(
        str(case["input"]),
        batch_size=int(case["batch_size"] or 0),
        image_size=costs.VARIANTS[str(case["variant"])].image_size,
        seed=int(case["seed"] or 0),
        turn=turn,
    )
    return torch.from_numpy(array)


def tokens(case: Mapping[str, AxisValue], layer: torch.nn.Module, turn: int) -> torch.Tensor:
    """Returns a batch of tokens (B, M, D), float32 on the CPU; another one for each turn."""
    router = getattr(getattr(layer, "router", None), "weight", None)
    weight: np.ndarray[Any, Any] | None = None
    if isinstance(router, torch.Tensor) and router.ndim == 2:
        weight = router.detach().float().cpu().numpy()
    array = inputs.make(
        str(case["input"]),
        batch_size=int(case["batch_size"] or 0),
        seq_len=int(case["seq_len"] or 0),
        d_model=int(case["d_model"] or 0),
        seed=int(case["seed"] or 0),
        turn=turn,
        router_weight=weight,
    )
    return torch.from_numpy(array)


def keywords(task: Task) -> dict[str, AxisValue]:
    """Returns the keywords for the layer's factory; one that it does not name is left out while at its default.

    Raises:
        TypeError: the factory does not take an axis that the case sets.
    """
    axes = {name: task.case.get(name, AXES[name].default) for name in task.keywords}
    signature = inspect.signature(resolve(task.target))
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values()):
        return axes
    refused = [n for n, v in axes.items() if n not in signature.parameters and v != AXES[n].default]
    if refused:
        takes = ", ".join(signature.parameters)
        raise TypeError(f"{task.target} does not take {', '.join(refused)} (it takes: {takes})")
    return {name: value for name, value in axes.items() if name in signature.parameters}


def resolve(target: str) -> Callable[..., Any]:
    """Returns what an import string names; the current folder is searched too.

    Raises:
        ImportError, AttributeError: there is no such module or name.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module, _, name = target.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found

"""What a Soft MoE keeps of its input's Euclidean norm: families of inputs that only a large enough one tells apart.

    collision   two tokens a v and -a v, the others 0, with v orthogonal to all of phi
    Lipschitz   one token -a u, the others 0, where u is the direction of the only phi

The claim is that of Chung et al. 2024, arXiv:2409.00879, for a single expert; both arguments are this project's own.
In float64, so that no rounding hides or makes a difference.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from bench.records import Observation
from bench.worker.finding import Finding
from bench.worker.subject import keywords, resolve

if TYPE_CHECKING:
    from torch import Tensor

    from bench.records import Task

COLLIDING = (0.0, *(10.0**power for power in range(7)))
"""Sizes a of the colliding inputs: the first one is what the others are held against."""

ALONG = (0.0, 5.0, 20.0, 100.0)
"""Sizes a along the only phi, likewise."""

FEW_SLOTS = 2
"""So many slots can be set by hand for the Lipschitz family: one along u, one against it."""


def observe(task: Task) -> Finding:
    """Returns for each size how long the input is and how far the output moved from that of the zero input.

    Lengths are Euclidean, outputs differ by their largest number; `family` figures only for layers of one or two slots.
    """
    found = _collision(task)
    if int(task.case["num_experts"] or 0) * int(task.case["slots_per_expert"] or 0) <= FEW_SLOTS:
        found += _family(task)
    return Finding(tuple(Observation(name, unit, tuple(samples)) for name, unit, samples in found))


Figures = list[tuple[str, str, list[float]]]


def _collision(task: Task) -> Figures:
    """Returns the figures of two opposite tokens along the last coordinate, with the experts as they are drawn.

    With fewer slots than coordinates some direction is orthogonal to all of phi. Here it is the last one, exactly: a
    rotation of tokens and experts makes any other into this. With as many slots there is none, and phi stays as drawn.
    """
    layer = _layer(task)
    phi_DS = layer.get_parameter("router.phi").flatten(1)
    if phi_DS.shape[1] < phi_DS.shape[0]:
        phi_DS[-1] = 0.0
    x_AMD = _zeros(task, len(COLLIDING))
    x_AMD[:, 0, -1] = torch.tensor(COLLIDING)
    x_AMD[:, 1, -1] = -torch.tensor(COLLIDING)
    return [("collision_norm", "abs", _norms(x_AMD)), ("collision_gap", "abs", _gaps(layer, x_AMD))]


def _family(task: Task) -> Figures:
    """Returns the figures of one token against the first slot's direction, with |z| as the last expert and 0 before.

    The first slot sees that token with weight exp(-a) / (m - 1 + exp(-a)): at most a exp(-a) / (m - 1) is left of it.
    A second slot looks into the opposite direction, where the same token outweighs all others.
    """
    layer = _layer(task)
    phi_DS = layer.get_parameter("router.phi").flatten(1)
    u_D = phi_DS[:, 0] / phi_DS[:, 0].norm()
    phi_DS[:, 0] = u_D
    phi_DS[:, 1:] = -u_D.unsqueeze(1)
    layer.experts = _Length(len(u_D))
    size_A = torch.tensor(ALONG, dtype=torch.float64)
    x_AMD = _zeros(task, len(ALONG))
    x_AMD[:, 0] = -size_A.unsqueeze(1) * u_D
    slots_EAPD = layer.get_submodule("router")(x_AMD).dispatch(x_AMD).unflatten(1, (len(ALONG), -1))
    others = x_AMD.shape[1] - 1
    return [
        ("family_norm", "abs", _norms(x_AMD)),
        ("family_slot", "abs", slots_EAPD[0, :, 0].norm(dim=-1).tolist()),
        ("family_bound", "abs", [a * math.exp(-a) / others for a in ALONG]),
        ("family_gap", "abs", _gaps(layer, x_AMD)),
    ]


class _Length(nn.Module):
    """Experts that keep nothing but a slot's size: the last one returns |z|, number by number, those before it 0.

    Both have the Lipschitz constant 1.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = d_model

    def forward(self, rows_ERD: Tensor) -> Tensor:
        """Returns (E, R, D)."""
        y_ERD = torch.zeros_like(rows_ERD)
        y_ERD[-1] = rows_ERD[-1].abs()
        return y_ERD


def _layer(task: Task) -> nn.Module:
    """Returns the layer of a task in float64, its weights free to be written to."""
    torch.manual_seed(int(task.case["seed"] or 0))
    layer: nn.Module = resolve(task.target)(**keywords(task)).double().requires_grad_(requires_grad=False)
    return layer


def _zeros(task: Task, count: int) -> Tensor:
    """Returns so many inputs (A, M, D) of nothing but zeros."""
    return torch.zeros(count, int(task.case["seq_len"] or 0), int(task.case["d_model"] or 0), dtype=torch.float64)


def _norms(x_AMD: Tensor) -> list[float]:
    """Returns the Euclidean norm of each input, over all its tokens."""
    norms: list[float] = x_AMD.flatten(1).norm(dim=1).tolist()
    return norms


def _gaps(layer: nn.Module, x_AMD: Tensor) -> list[float]:
    """Returns how far each output is from the first one, by its largest number."""
    y_AMD = torch.cat([layer(x_MD.unsqueeze(0)) for x_MD in x_AMD])
    gaps: list[float] = (y_AMD - y_AMD[:1]).flatten(1).abs().amax(1).tolist()
    return gaps

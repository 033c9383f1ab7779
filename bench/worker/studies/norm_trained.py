"""How well small Soft MoE layers learn the Euclidean norm: layer and readout trained from scratch, several seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from bench.records import Observation
from bench.worker.finding import Finding
from bench.worker.subject import keywords, resolve

if TYPE_CHECKING:
    from torch import Tensor

    from bench.records import Task

SEEDS = 5
STEPS = 1500
RATE = 3e-3  # falling to 0 along half a cosine
READOUT = 64  # its hidden width
LONGEST = 10.0
"""Norms are even between 0 and this."""
TESTED = 4096
TEST_SEED = 2409_00879
"""Of the inputs that all networks are tested on; no training draws from it."""


def observe(task: Task) -> Finding:
    """Returns the root mean square error of each seed's network on new inputs, and that of the best constant.

    Half of the inputs are [x; -x; 0; ...], the family that few slots cannot tell apart; `opposite` is the error there.
    """
    case = task.case
    shape = (int(case["seq_len"] or 0), int(case["d_model"] or 0))
    x_BMD, norm_B = inputs(TESTED, shape, torch.Generator().manual_seed(TEST_SEED))
    everywhere, opposite = [], []
    for seed in range(int(case["seed"] or 0), int(case["seed"] or 0) + SEEDS):
        torch.manual_seed(seed)
        network = Network(task, shape)
        train(network, int(case["batch_size"] or 0), shape, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            square_B = (network(x_BMD) - norm_B).square()
        everywhere.append(float(square_B.mean().sqrt()))
        opposite.append(float(square_B[: TESTED // 2].mean().sqrt()))
    return Finding(
        (
            Observation("norm_rmse", "abs", tuple(everywhere)),
            Observation("norm_rmse_opposite", "abs", tuple(opposite)),
            Observation("norm_rmse_constant", "abs", (float(norm_B.std(correction=0)),)),
        )
    )


class Network(nn.Module):
    """The layer of a task, and a readout with one hidden layer that sees all of its output."""

    def __init__(self, task: Task, shape: tuple[int, int]) -> None:
        super().__init__()
        self.layer = resolve(task.target)(**keywords(task))
        self.readout = nn.Sequential(
            nn.Flatten(), nn.Linear(shape[0] * shape[1], READOUT), nn.GELU(), nn.Linear(READOUT, 1)
        )

    def forward(self, x_BMD: Tensor) -> Tensor:
        """Returns (B,)."""
        norm_B: Tensor = self.readout(self.layer(x_BMD)).squeeze(1)
        return norm_B


def inputs(count: int, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns inputs (B, M, D) in random directions, the first half of them opposite pairs, and their norms (B,)."""
    x_BMD = torch.randn(count, *shape, generator=generator)
    pairs_BMD = x_BMD[: count // 2]
    pairs_BMD[:, 1] = -pairs_BMD[:, 0]
    pairs_BMD[:, 2:] = 0.0
    norm_B = LONGEST * torch.rand(count, generator=generator)
    return x_BMD * (norm_B / x_BMD.flatten(1).norm(dim=1))[:, None, None], norm_B


def train(network: Network, batch_size: int, shape: tuple[int, int], generator: torch.Generator) -> None:
    """Minimises the square error by Adam, each step on new inputs."""
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        x_BMD, norm_B = inputs(batch_size, shape, generator)
        loss = (network(x_BMD) - norm_B).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

"""Layers from outside, most of them with something wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

import softmoe_ref


class Identity(torch.nn.Module):
    """Maps tokens to themselves; takes only what it needs."""

    def __init__(self, d_model: int, d_ff: int, num_experts: int, slots_per_expert: int) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(d_model))
        self.sizes = (d_ff, num_experts, slots_per_expert)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gain


class TwiceTheExperts(torch.nn.Module):
    """Soft MoE that computes its experts twice and throws the second result away."""

    def __init__(self, **axes: object) -> None:
        super().__init__()
        self.soft = softmoe_ref.build("soft", backend="fused", **axes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        decision = self.soft.route(x)
        rows = decision.dispatch(x)
        self.soft.experts(rows)
        return decision.combine(self.soft.experts(rows))


class _Strange(Identity):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.misbehave()
        return super().forward(x)

    def misbehave(self) -> None:
        raise NotImplementedError


class Raises(_Strange):
    def misbehave(self) -> None:
        raise ValueError("no tokens today")


class Exits(_Strange):
    def misbehave(self) -> None:
        sys.stdout.write("last words\n")
        sys.stdout.flush()
        os._exit(7)


class Dies(_Strange):
    def misbehave(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Hangs(_Strange):
    """Starts a grandchild, writes down its process id, and never comes back."""

    def misbehave(self) -> None:
        child = subprocess.Popen(["sleep", "600"])
        with Path(os.environ.get("STRANGE_PIDS", os.devnull)).open("a") as file:
            file.write(f"{os.getpid()} {child.pid}\n")
        time.sleep(600)


class Devours(_Strange):
    def misbehave(self) -> None:
        torch.empty(2**50, dtype=torch.uint8)


class Overdraws(_Strange):
    def misbehave(self) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB\nlong statistics")


class Shrinks(Identity):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1]


def not_a_layer(**axes: object) -> str:
    return str(axes)


not_callable = "a word"

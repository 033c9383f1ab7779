"""Oracles of tokens choice and experts choice."""

import math

from torch import Tensor

from softmoe_ref.oracle import loops
from softmoe_ref.oracle.loops import Parameters, Truth


def token_choice(
    parameters: Parameters,
    x: Tensor,
    *,
    top_k: int,
    capacity_factor: float | None,
    group_size: int | None,
    batch_priority: bool,
    renormalize: bool,
    capacity_rounding: str,
) -> Truth:
    """Return tokens choice: first choices are served before second ones, each in order, until the buffers are full."""
    gates = loops.gates(parameters, x)
    experts = len(gates[0])
    served: list[list[tuple[int, Tensor]]] = [[] for _ in range(experts)]
    for group in loops.groups(x, group_size):
        places = math.inf
        if capacity_factor is not None:
            places = loops.rounded(len(group) * top_k * capacity_factor / experts, capacity_rounding)
        values = {t: gates[t].tolist() for t in group}
        wishes = {t: sorted(range(experts), key=lambda e, v=values[t]: -v[e])[:top_k] for t in group}  # type: ignore[misc]
        order = sorted(group, key=lambda t, v=values: -max(v[t])) if batch_priority else group  # type: ignore[misc]
        taken = [0] * experts
        for choice in range(top_k):
            for t in order:
                e = wishes[t][choice]
                if taken[e] < places:
                    taken[e] += 1
                    total = sum((gates[t][wish] for wish in wishes[t]), start=x.new_zeros(()))
                    served[e].append((t, gates[t][e] / total if renormalize else gates[t][e]))
    return loops.outputs(parameters, x, served)


def expert_choice(
    parameters: Parameters,
    x: Tensor,
    *,
    capacity_factor: float,
    group_size: int | None,
    capacity_rounding: str,
) -> Truth:
    """Return experts choice: every expert takes the tokens of each group that want it most."""
    gates = loops.gates(parameters, x)
    experts = len(gates[0])
    served: list[list[tuple[int, Tensor]]] = [[] for _ in range(experts)]
    for group in loops.groups(x, group_size):
        places = loops.rounded(len(group) * capacity_factor / experts, capacity_rounding)
        values = {t: gates[t].tolist() for t in group}
        for e in range(experts):
            keenest = sorted(group, key=lambda t, e=e, v=values: -v[t][e])  # type: ignore[misc]
            served[e].extend((t, gates[t][e]) for t in keenest[:places])
    return loops.outputs(parameters, x, served)

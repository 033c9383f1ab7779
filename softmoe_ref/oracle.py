"""The truth of the tests: every layer again, slow, in float64, as loops over sequences, tokens, choices and experts.

Nothing here is shared with `softmoe_ref.routing` or `softmoe_ref.transport`: decisions are made on Python's numbers
with Python's sort, so that the two can only agree by being right. Each expert runs once, on the stack of rows that it
received. Equal gates are served in order of their index.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from softmoe_ref.moe import MoE

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Truth:
    """What a layer should have computed.

    Attributes:
        y: (B, M, D) float64, differentiable with respect to the parameters and tokens that were given.
        assigned: (B * M, E) bool: this expert works on this token.
    """

    y: Tensor
    assigned: Tensor


def forward(layer: MoE, x: Tensor) -> Truth:
    """Return the truth for `layer` and the tokens `x` (B, M, D), computed in float64 from copies, without gradients.

    Raises:
        ValueError: if there is no oracle for this family or activation.
    """
    if layer.name not in ORACLES or layer.experts.activation != "gelu":
        raise ValueError(f"no oracle for layer {layer.name!r} with activation {layer.experts.activation!r}")
    parameters = {name: p.detach().double() for name, p in layer.named_parameters()}
    return forward_with(layer.name, parameters, x.detach().double(), config(layer))


def forward_with(name: str, parameters: Parameters, x: Tensor, axes: Mapping[str, object]) -> Truth:
    """Return the truth for the family `name`, differentiable with respect to `parameters` and `x`, all float64.

    Args:
        name: a key of `ORACLES`.
        parameters: the layer's parameters by their name in its state_dict.
        x: (B, M, D) tokens.
        axes: the keywords of that family's oracle, as `config` reads them from a layer.
    """
    return ORACLES[name](parameters, x, **axes)


def config(layer: MoE) -> dict[str, object]:
    """Return the routing axes of `layer` that its oracle needs."""
    return {axis: getattr(layer.router, axis) for axis in AXES[layer.name]}


def dense(parameters: Parameters, x: Tensor) -> Truth:
    """Return the dense feed-forward network: the only expert on every token."""
    y = _run_experts(parameters, [[token for sequence in x for token in sequence]])[0]
    return Truth(y.reshape(x.shape), torch.ones(len(y), 1, dtype=torch.bool, device=x.device))


def soft(parameters: Parameters, x: Tensor, *, normalize: str) -> Truth:
    """Return Soft MoE, arXiv:2308.00951 algorithms 1 and 2, slot by slot and token by token."""
    phi, scale = parameters["router.phi"], parameters["router.scale"]
    _, experts, slots = phi.shape
    inboxes: list[list[Tensor]] = [[] for _ in range(experts)]
    logits = []
    for sequence in x:
        unit_tokens = torch.stack([_unit(token) for token in sequence])
        seen = sequence if normalize == "none" else unit_tokens
        mixed = unit_tokens if normalize == "tokens" else sequence
        columns = []
        for e in range(experts):
            for p in range(slots):
                direction = phi[:, e, p] if normalize == "none" else _unit(phi[:, e, p])
                columns.append(scale * (seen @ direction))
                inboxes[e].append(_softmax(columns[-1]) @ mixed)
        logits.append(torch.stack(columns, dim=1))
    outboxes = _run_experts(parameters, inboxes)
    y = []
    for b in range(len(x)):
        slot_outputs = torch.cat([outbox[b * slots : (b + 1) * slots] for outbox in outboxes])
        y.append(torch.stack([_softmax(row) @ slot_outputs for row in logits[b]]))
    everyone = torch.ones(x.shape[0] * x.shape[1], experts, dtype=torch.bool, device=x.device)
    return Truth(torch.stack(y), everyone)


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
    gates = _gates(parameters, x)
    experts = len(gates[0])
    served: list[list[tuple[int, Tensor]]] = [[] for _ in range(experts)]
    for group in _groups(x, group_size):
        places = math.inf
        if capacity_factor is not None:
            places = _rounded(len(group) * top_k * capacity_factor / experts, capacity_rounding)
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
    return _outputs(parameters, x, served)


def expert_choice(
    parameters: Parameters,
    x: Tensor,
    *,
    capacity_factor: float,
    group_size: int | None,
    capacity_rounding: str,
) -> Truth:
    """Return experts choice: every expert takes the tokens of each group that want it most."""
    gates = _gates(parameters, x)
    experts = len(gates[0])
    served: list[list[tuple[int, Tensor]]] = [[] for _ in range(experts)]
    for group in _groups(x, group_size):
        places = _rounded(len(group) * capacity_factor / experts, capacity_rounding)
        values = {t: gates[t].tolist() for t in group}
        for e in range(experts):
            keenest = sorted(group, key=lambda t, e=e, v=values: -v[t][e])  # type: ignore[misc]
            served[e].extend((t, gates[t][e]) for t in keenest[:places])
    return _outputs(parameters, x, served)


ORACLES: Final[Mapping[str, Callable[..., Truth]]] = {
    "dense": dense,
    "soft": soft,
    "token_choice": token_choice,
    "expert_choice": expert_choice,
}
AXES: Final[Mapping[str, Sequence[str]]] = {
    "dense": (),
    "soft": ("normalize",),
    "token_choice": (
        "top_k",
        "capacity_factor",
        "group_size",
        "batch_priority",
        "renormalize",
        "capacity_rounding",
    ),
    "expert_choice": ("capacity_factor", "group_size", "capacity_rounding"),
}


def _unit(vector: Tensor) -> Tensor:
    return vector / (vector.dot(vector) + 1e-6).sqrt()


def _softmax(logits: Tensor) -> Tensor:
    powers = (logits - logits.detach().max()).exp()
    return powers / powers.sum()


def _gates(parameters: Parameters, x: Tensor) -> list[Tensor]:
    weight = parameters["router.weight"]
    return [_softmax(token @ weight) for sequence in x for token in sequence]


def _groups(x: Tensor, group_size: int | None) -> list[list[int]]:
    tokens = list(range(x.shape[0] * x.shape[1]))
    size = group_size or x.shape[1]
    return [tokens[start : start + size] for start in range(0, len(tokens), size)]


def _rounded(places: float, rounding: str) -> int:
    if rounding == "round":
        return round(places)
    whole = math.ceil(places)
    while whole % 4:
        whole += 1
    return whole


def _run_experts(parameters: Parameters, inboxes: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    w1s, b1s = parameters["experts.w1"].unbind(0), parameters["experts.b1"].unbind(0)
    w2s, b2s = parameters["experts.w2"].unbind(0), parameters["experts.b2"].unbind(0)
    outboxes = []
    for inbox, w1, b1, w2, b2 in zip(inboxes, w1s, b1s, w2s, b2s, strict=True):
        if not inbox:
            outboxes.append(b2.new_zeros(0, len(b2)))
            continue
        z = torch.stack(list(inbox)) @ w1 + b1
        hidden = 0.5 * z * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
        outboxes.append(hidden @ w2 + b2)
    return outboxes


def _outputs(parameters: Parameters, x: Tensor, served: Sequence[Sequence[tuple[int, Tensor]]]) -> Truth:
    tokens = x.reshape(-1, x.shape[-1]).unbind(0)
    outboxes = _run_experts(parameters, [[tokens[t] for t, _ in inbox] for inbox in served])
    y = [torch.zeros_like(token) for token in tokens]
    assigned = torch.zeros(len(tokens), len(served), dtype=torch.bool)
    for e, inbox in enumerate(served):
        for (t, gate), row in zip(inbox, outboxes[e].unbind(0), strict=True):
            y[t] = y[t] + gate * row
            assigned[t, e] = True
    return Truth(torch.stack(y).reshape(x.shape), assigned.to(x.device))

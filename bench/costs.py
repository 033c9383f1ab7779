"""Parameters, FLOPs and bytes of a case: plain arithmetic on its axes, each formula with its source.

One multiply-add is 2 FLOP. Only matrix products are counted: softmax, GELU, biases, norms, top-k, sort, gather and
scatter are not. This is the convention of the paper's evaluation GFLOPs (Puigcerver et al. 2024, arXiv:2308.00951v2,
Table 8, which it reproduces within 1 %) and of torch's FlopCounterMode; fvcore counts multiply-adds instead. A number
that depends on the data is None, never 0.

Letters: B batch_size, M seq_len, T = B * M tokens, D d_model, F d_ff, E num_experts, P slots_per_expert, K top_k,
c capacity_factor, g group_size, G = T / g groups, C places of one expert in one group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

Axes = Mapping[str, object]

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
PADDED_BACKENDS = ("einsum", "indexed")
"""Backends that compute every place of the capacity buffer, taken or not."""
RAGGED_BACKENDS = ("grouped", "loop")
"""Backends that compute the kept assignments only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call of a layer costs, see the functions for the formulas.

    Attributes:
        parameters: trainable numbers of the layer.
        parameter_bytes: their size in the case's dtype.
        useful_flops: products that the layer's definition asks for; with a capacity, token_choice's most.
        executed_flops: products that the backend computes, padding and one-hot products included; None where the data
            decides or the backend is not known here.
        one_sided_flops: the part of executed_flops with an operand that takes no gradient (the one-hot dispatch mask).
        output_bytes: size of the layer's output y.
        min_bytes: memory traffic when every operand is read or written once, see `soft`.
        mode: what one call is; `for_mode` changes it.
    """

    parameters: int
    parameter_bytes: int
    useful_flops: int | None
    executed_flops: int | None
    one_sided_flops: int = 0
    output_bytes: int
    min_bytes: int | None
    mode: str = "forward"


def for_mode(cost: Cost, mode: str) -> Cost:
    """The cost of one call in `mode`, from the cost of a forward call.

    Backward computes the gradients of parameters and input, so each product costs twice its forward: 3 times in all
    (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). The one-hot dispatch mask takes no gradient, so that product
    costs its forward once more only (the paper's training costs fit 1 + 1 forward, 1 + 2 backward). The optimiser of
    train_step has no matrix product; its traffic depends on the optimiser, so min_bytes is None there.

    Bytes of forward_backward, each once: parameters, x and everything between are read or written going forward, read
    going back, and their gradients written; y is written, its gradient read.
    """
    if cost.mode != "forward":
        raise ValueError(f"for_mode starts from the cost of a forward call, got one of mode {cost.mode!r}")
    if mode == "forward":
        return cost
    if mode not in {"forward_backward", "train_step"}:
        raise ValueError(f"mode must be forward, forward_backward or train_step, got {mode!r}")
    traffic = None if cost.min_bytes is None or mode == "train_step" else 3 * cost.min_bytes - cost.output_bytes
    return replace(
        cost,
        useful_flops=None if cost.useful_flops is None else 3 * cost.useful_flops,
        executed_flops=None if cost.executed_flops is None else 3 * cost.executed_flops - cost.one_sided_flops,
        min_bytes=traffic,
        mode=mode,
    )


def capacity(axes: Axes) -> int:
    """Places C of one expert in one group: g * K * c / E, K = 1 where the axes have no top_k (expert choice).

    Source: vmoe, moe.py `compute_capacity`. capacity_rounding "round" is Python's, half to even (2.5 -> 2), which the
    Soft MoE paper uses; "ceil4" rounds up and then up to a multiple of 4, the default of the vmoe library. The result
    can be 0, which no sparse layer accepts.

    Raises:
        ValueError: dropless (capacity_factor None) has no capacity, or an axis is out of range.
    """
    factor = _factor(axes)
    if factor is None:
        raise ValueError("capacity_factor None (dropless) sets no capacity")
    top_k = 1 if axes.get("top_k") is None else _whole(axes, "top_k")
    exact = _groups(axes)[1] * top_k * factor / _whole(axes, "num_experts")
    rounding = axes.get("capacity_rounding", "round")
    if rounding == "round":
        return round(exact)
    if rounding == "ceil4":
        return -(-math.ceil(exact) // 4) * 4
    raise ValueError(f"capacity_rounding must be round or ceil4, got {rounding!r}")


def dense(axes: Axes) -> Cost:
    """One feed-forward layer: 2DF + F + D parameters, 4BMDF FLOP (two products of BM rows)."""
    tokens = _whole(axes, "batch_size") * _whole(axes, "seq_len")
    d_model, d_ff = _whole(axes, "d_model"), _whole(axes, "d_ff")
    flops = 4 * tokens * d_model * d_ff
    return _cost(axes, experts=1, router=0, between=tokens * d_ff, useful=flops, executed=flops)


def soft(axes: Axes) -> Cost:
    """Soft MoE: E(2DF + F + D) + DEP + 1 parameters, 3 * 2BMDEP + 4BEPDF FLOP.

    Source: arXiv:2308.00951v2 section 2.3, O(mnpd + npk) with its constants: logits, dispatch and combine are products
    of M x D x EP each, and EP slots of each sequence go through an expert. At fixed E * P no FLOP depends on E alone.
    All backends compute these products.

    min_bytes is the sum of parameters, x, y, routing weights (BMEP: both softmaxes come from one matrix of logits),
    slots in and out (2BEPD) and hidden (BEPF), each once in the case's dtype. A kernel that keeps a whole intermediate
    in cache can stay below it.
    """
    batch, length = _whole(axes, "batch_size"), _whole(axes, "seq_len")
    d_model, d_ff = _whole(axes, "d_model"), _whole(axes, "d_ff")
    experts = _whole(axes, "num_experts")
    slots = experts * _whole(axes, "slots_per_expert")
    flops = 3 * 2 * batch * length * d_model * slots + 4 * batch * slots * d_model * d_ff
    between = batch * length * slots + batch * slots * (2 * d_model + d_ff)
    return _cost(axes, experts=experts, router=d_model * slots + 1, between=between, useful=flops, executed=flops)


def token_choice(axes: Axes) -> Cost:
    """Top-k routing: E(2DF + F + D) + DE parameters, 2TDE + 4 * rows * DF useful FLOP.

    Useful rows are T * K assignments, with a capacity at most G * E * C. Executed, beside the router:

    - `einsum`: all G * E * C places, and the one-hot dispatch and combine at 2 * G * g * E * C * D each (vmoe's
      EinsumDispatcher; quadratic in the group, and part of the paper's sparse figures);
    - `indexed`: all G * E * C places; gather and scatter are no products;
    - `grouped`, `loop`: the kept assignments: T * K where none can be dropped (dropless, or C >= g).

    What the data decides is None: the buffer of a dropless padded backend, the kept assignments of a ragged one.
    min_bytes as for `soft`, with T * E routing weights, useful rows in place of slots, and the weights of as many
    experts as balanced routing touches.
    """
    groups, group = _groups(axes)
    experts, top_k = _whole(axes, "num_experts"), _whole(axes, "top_k")
    if top_k > experts:
        raise ValueError(f"top_k {top_k} is more than num_experts {experts}")
    assigned = groups * group * top_k
    if _factor(axes) is None:
        return _sparse(axes, useful_rows=assigned, places=None, kept=assigned)
    places = min(_some_places(axes), group)
    rows = min(assigned, groups * experts * places)
    return _sparse(axes, useful_rows=rows, places=places, kept=assigned if places >= group else None)


def expert_choice(axes: Axes) -> Cost:
    """Experts choose their tokens: E(2DF + F + D) + DE parameters, 2TDE + 4 * G * E * C * DF useful FLOP.

    Every place is taken (Zhou et al. 2022, arXiv:2202.09368), so all backends execute the same rows; `einsum` adds the
    one-hot products of `token_choice`. min_bytes as there.
    """
    groups, group = _groups(axes)
    experts = _whole(axes, "num_experts")
    if _factor(axes) is None:
        raise ValueError("expert_choice needs a capacity_factor: it says how many tokens an expert takes; got None")
    places = _some_places({name: value for name, value in axes.items() if name != "top_k"})
    if places > group:
        raise ValueError(
            f"an expert cannot choose {places} of {group} tokens: lower capacity_factor to at most num_experts "
            f"{experts}, or take a larger group_size"
        )
    rows = groups * experts * places
    return _sparse(axes, useful_rows=rows, places=places, kept=rows)


def _sparse(axes: Axes, *, useful_rows: int, places: int | None, kept: int | None) -> Cost:
    groups, group = _groups(axes)
    tokens, experts = groups * group, _whole(axes, "num_experts")
    d_model, d_ff = _whole(axes, "d_model"), _whole(axes, "d_ff")
    backend = axes.get("backend")
    router, row = 2 * tokens * d_model * experts, 4 * d_model * d_ff
    one_hot, rows = 0, None
    if backend in PADDED_BACKENDS and places is not None:
        rows = groups * experts * places
        one_hot = 2 * groups * group * experts * places * d_model if backend == "einsum" else 0
    elif backend in RAGGED_BACKENDS:
        rows = kept
    return _cost(
        axes,
        experts=experts,
        touched=min(experts, useful_rows),
        router=d_model * experts,
        between=tokens * experts + useful_rows * (2 * d_model + d_ff),
        useful=router + useful_rows * row,
        executed=None if rows is None else router + rows * row + 2 * one_hot,
        one_sided=one_hot,
    )


def _cost(
    axes: Axes,
    *,
    experts: int,
    router: int,
    between: int,
    useful: int,
    executed: int | None,
    touched: int | None = None,
    one_sided: int = 0,
) -> Cost:
    """Add up: `router` counts parameters, `between` the elements of everything between x and y."""
    d_model, d_ff = _whole(axes, "d_model"), _whole(axes, "d_ff")
    dtype = axes.get("dtype")
    if dtype not in DTYPE_BYTES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPE_BYTES)}, got {dtype!r}")
    size = DTYPE_BYTES[str(dtype)]
    expert = 2 * d_model * d_ff + d_ff + d_model
    output = _whole(axes, "batch_size") * _whole(axes, "seq_len") * d_model
    read = (experts if touched is None else touched) * expert + router
    return Cost(
        parameters=experts * expert + router,
        parameter_bytes=(experts * expert + router) * size,
        useful_flops=useful,
        executed_flops=executed,
        one_sided_flops=one_sided,
        output_bytes=output * size,
        min_bytes=(read + 2 * output + between) * size,
    )


def _whole(axes: Axes, name: str) -> int:
    value = axes.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def _factor(axes: Axes) -> float | None:
    value = axes.get("capacity_factor")
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise ValueError(f"capacity_factor must be a number above 0, or None for dropless, got {value!r}")


def _some_places(axes: Axes) -> int:
    places = capacity(axes)
    if places < 1:
        raise ValueError(
            f"an expert has no place: capacity_factor {axes['capacity_factor']} leaves {places} of a group; "
            "raise capacity_factor or group_size, or take fewer experts"
        )
    return places


def _groups(axes: Axes) -> tuple[int, int]:
    """(G, g): groups are consecutive tokens of the flattened batch; one sequence each where no group_size is given."""
    length = _whole(axes, "seq_len")
    tokens = _whole(axes, "batch_size") * length
    group = length if axes.get("group_size") is None else _whole(axes, "group_size")
    if tokens % group:
        raise ValueError(f"group_size {group} does not divide batch_size * seq_len = {tokens} tokens")
    return tokens // group, group

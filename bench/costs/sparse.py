"""The costs of tokens choice and experts choice, and the capacity of their buffers."""

from __future__ import annotations

import math

from bench.costs.cost import Axes, Cost, add_up, choices, row_flops, tokens, whole

PADDED_BACKENDS = ("einsum", "indexed")
"""Backends that compute every place of the capacity buffer, taken or not."""
RAGGED_BACKENDS = ("grouped", "loop")
"""Backends that compute the kept assignments only."""


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
    top_k = 1 if axes.get("top_k") is None else whole(axes, "top_k")
    exact = _groups(axes)[1] * top_k * factor / whole(axes, "num_experts")
    rounding = axes.get("capacity_rounding", "round")
    if rounding == "round":
        return round(exact)
    if rounding == "ceil":
        return math.ceil(exact)
    if rounding == "ceil4":
        return -(-math.ceil(exact) // 4) * 4
    raise ValueError(f"capacity_rounding must be round, ceil or ceil4, got {rounding!r}")


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
    experts = whole(axes, "num_experts")
    assigned = groups * group * choices(axes)
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
    experts = whole(axes, "num_experts")
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
    count, experts = groups * group, whole(axes, "num_experts")
    d_model, d_ff = whole(axes, "d_model"), whole(axes, "d_ff")
    backend = axes.get("backend")
    router, row = 2 * count * d_model * experts, row_flops(axes)
    one_hot, rows = 0, None
    if backend in PADDED_BACKENDS and places is not None:
        rows = groups * experts * places
        one_hot = 2 * groups * group * experts * places * d_model if backend == "einsum" else 0
    elif backend in RAGGED_BACKENDS:
        rows = kept
    return add_up(
        axes,
        experts=experts,
        touched=min(experts, useful_rows),
        router=d_model * experts,
        between=count * experts + useful_rows * (2 * d_model + d_ff),
        useful=router + useful_rows * row,
        executed=None if rows is None else router + rows * row + 2 * one_hot,
        one_sided=one_hot,
    )


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
    length = whole(axes, "seq_len")
    count = tokens(axes)
    group = length if axes.get("group_size") is None else whole(axes, "group_size")
    if count % group:
        raise ValueError(f"group_size {group} does not divide batch_size * seq_len = {count} tokens")
    return count // group, group

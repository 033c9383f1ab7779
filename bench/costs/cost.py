"""What a cost is, and the pieces that all formulas share.

Letters: B batch_size, M seq_len, T = B * M tokens, D d_model, F d_ff, E num_experts, P slots_per_expert, K top_k,
c capacity_factor, g group_size, G = T / g groups, C places of one expert in one group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

Axes = Mapping[str, object]

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call of a layer costs, see the functions for the formulas.

    Attributes:
        parameters: trainable numbers of the layer.
        parameter_bytes: their size in the case's dtype.
        useful_flops: products that the layer's definition asks for; with a capacity, token_choice's most; None where
            the data decides.
        executed_flops: products that the backend computes, padding and one-hot products included; None where the data
            decides or the backend is not known here.
        one_sided_flops: the part of executed_flops with an operand that takes no gradient (the one-hot dispatch mask).
        leaf_flops: the part of both with an input that takes no gradient (the images).
        repeated_flops: the part of executed_flops that the backward pass computes once more (the logits of attention).
        output_bytes: size of the layer's output y.
        between_bytes: size of everything between x and y; None where the data decides.
        min_bytes: memory traffic when every operand is read or written once, see `soft`.
        mode: what one call is; `for_mode` changes it.
    """

    parameters: int
    parameter_bytes: int
    useful_flops: int | None
    executed_flops: int | None
    one_sided_flops: int = 0
    leaf_flops: int = 0
    repeated_flops: int = 0
    output_bytes: int
    between_bytes: int | None = None
    min_bytes: int | None
    mode: str = "forward"


def for_mode(cost: Cost, mode: str) -> Cost:
    """The cost of one call in `mode`, from the cost of a forward call.

    Backward computes the gradients of parameters and input, so each product costs twice its forward: 3 times in all
    (Kaplan et al. 2020, arXiv:2001.08361, section 2.1). The one-hot dispatch mask takes no gradient, so that product
    costs its forward once more only (the paper's training costs fit 1 + 1 forward, 1 + 2 backward), and so does the
    product that embeds images. The optimiser of train_step has no matrix product; its traffic depends on the optimiser,
    so min_bytes is None there.

    Bytes of forward_backward, each once: parameters, x and everything between are read or written going forward, read
    going back, and their gradients written; y is written, its gradient read.
    """
    if cost.mode != "forward":
        raise ValueError(f"for_mode starts from the cost of a forward call, got one of mode {cost.mode!r}")
    if mode == "forward":
        return cost
    if mode not in {"forward_backward", "train_step"}:
        raise ValueError(f"mode must be forward, forward_backward or train_step, got {mode!r}")
    once_more = cost.repeated_flops - cost.one_sided_flops - cost.leaf_flops
    traffic = None if cost.min_bytes is None or mode == "train_step" else 3 * cost.min_bytes - cost.output_bytes
    return replace(
        cost,
        useful_flops=None if cost.useful_flops is None else 3 * cost.useful_flops - cost.leaf_flops,
        executed_flops=None if cost.executed_flops is None else 3 * cost.executed_flops + once_more,
        min_bytes=traffic,
        mode=mode,
    )


def add_up(  # noqa: PLR0913  (one keyword per term of the sums)
    axes: Axes,
    *,
    experts: int,
    router: int,
    between: int | None,
    useful: int | None,
    executed: int | None,
    expert: int | None = None,
    touched: int | None = None,
    one_sided: int = 0,
) -> Cost:
    """The cost of a layer of experts.

    `experts` experts of `expert` parameters, feed-forward networks where that is not given, and `router` further
    parameters; `between` counts the elements of everything between x and y, None where the data decides; `touched` is
    how many experts are read, where that is not all of them.
    """
    dtype = axes.get("dtype")
    if dtype not in DTYPE_BYTES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPE_BYTES)}, got {dtype!r}")
    size = DTYPE_BYTES[str(dtype)]
    expert = expert_parameters(axes) if expert is None else expert
    output = tokens(axes) * whole(axes, "d_model")
    read = (experts if touched is None else touched) * expert + router
    return Cost(
        parameters=experts * expert + router,
        parameter_bytes=(experts * expert + router) * size,
        useful_flops=useful,
        executed_flops=executed,
        one_sided_flops=one_sided,
        output_bytes=output * size,
        between_bytes=None if between is None else between * size,
        min_bytes=None if between is None else (read + 2 * output + between) * size,
    )


def tokens(axes: Axes) -> int:
    """T: the tokens of a call."""
    return whole(axes, "batch_size") * whole(axes, "seq_len")


def choices(axes: Axes) -> int:
    """K: the experts that a token chooses, at most all of them."""
    experts, top_k = whole(axes, "num_experts"), whole(axes, "top_k")
    if top_k > experts:
        raise ValueError(f"top_k {top_k} is more than num_experts {experts}")
    return top_k


def expert_parameters(axes: Axes) -> int:
    """Trainable numbers of one expert: 2DF + F + D; SwiGLU 3DF, which has a third matrix and no bias."""
    d_model, d_ff = whole(axes, "d_model"), whole(axes, "d_ff")
    return 3 * d_model * d_ff if axes.get("activation") == "swiglu" else 2 * d_model * d_ff + d_ff + d_model


def row_flops(axes: Axes) -> int:
    """FLOP of one row through one expert: two products, 4DF; SwiGLU three, 6DF."""
    products = 3 if axes.get("activation") == "swiglu" else 2
    return 2 * products * whole(axes, "d_model") * whole(axes, "d_ff")


def whole(axes: Axes, name: str, *, least: int = 1) -> int:
    """The value of an axis that must be a whole number of at least `least`."""
    value = axes.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")

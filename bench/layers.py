"""The layers that can be measured: name, where it is imported from, the axes it takes, its backends, its costs.

To add a layer: its file, and one line in `TABLE`. `bench` reaches a layer only through the import string, which is
resolved inside the worker; a layer from outside is just another string (`--layer mypkg.moe:MyMoE`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench import costs
from bench.axes import AXES, COMMON
from bench.errors import InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.axes import AxisValue
    from bench.costs import Cost

TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""The form of an import target: `package.module:factory`."""

ORACLE = "softmoe_ref.oracle:forward"


@dataclass(frozen=True)
class Layer:
    """One layer: `target` is called with its own axes, d_model and d_ff as keywords and returns (B, M, D) -> (B, M, D).

    `axes` are those it takes beside the common ones; the first of `backends` is the default; `cost` gives parameters,
    FLOPs and bytes of one forward call, None for a layer from outside, and so is `oracle`, the float64 truth;
    `impossible` says why a case has no meaning.
    """

    name: str
    title: str
    target: str
    axes: tuple[str, ...]
    backends: tuple[str, ...] = ()
    cost: Callable[[Mapping[str, AxisValue]], Cost] | None = None
    oracle: str | None = None
    impossible: Callable[[Mapping[str, AxisValue]], str | None] = lambda _axes: None

    @property
    def takes(self) -> tuple[str, ...]:
        """Every axis of a case of this layer."""
        backend = ("backend",) if self.backends else ()
        return ("layer", *backend, *self.axes, *COMMON)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The axes with which `target` is called."""
        backend = ("backend",) if self.backends else ()
        return ("d_model", "d_ff", *backend, *self.axes)


def _group(axes: Mapping[str, AxisValue]) -> tuple[int, int]:
    """Returns tokens of a call and tokens of a group."""
    tokens = int(axes["batch_size"] or 0) * int(axes["seq_len"] or 0)
    return tokens, int(axes["group_size"] or axes["seq_len"] or 0)


def _token_choice_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a tokens-choice case has no meaning, or None."""
    tokens, group = _group(axes)
    if tokens % group:
        return f"group_size={group} does not divide the {tokens} tokens of a call"
    if int(axes["top_k"] or 0) > int(axes["num_experts"] or 0):
        return f"top_k={axes['top_k']} is more than num_experts={axes['num_experts']}"
    if axes["capacity_factor"] is not None and costs.capacity(axes) < 1:
        return f"capacity_factor={axes['capacity_factor']} leaves no place for any token"
    return None


def _expert_choice_impossible(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why an experts-choice case has no meaning, or None."""
    tokens, group = _group(axes)
    if tokens % group:
        return f"group_size={group} does not divide the {tokens} tokens of a call"
    if axes["capacity_factor"] is None:
        return "experts choice needs a capacity_factor: it decides how many tokens an expert takes"
    room = costs.capacity(axes)
    if not 1 <= room <= group:
        return f"an expert would take {room} tokens of a group of {group}: change capacity_factor or num_experts"
    return None


TABLE: dict[str, Layer] = {
    layer.name: layer
    for layer in (
        Layer("dense", "Dense FFN", "softmoe_ref.dense:dense", ("activation",), (), costs.dense, ORACLE),
        Layer(
            "soft",
            "Soft MoE",
            "softmoe_ref.soft:soft",
            ("num_experts", "slots_per_expert", "normalize", "activation"),
            ("fused", "einsum"),
            costs.soft,
            ORACLE,
        ),
        Layer(
            "token_choice",
            "Tokens choice (top-k)",
            "softmoe_ref.token_choice:token_choice",
            (
                "num_experts",
                "top_k",
                "capacity_factor",
                "group_size",
                "batch_priority",
                "renormalize",
                "capacity_rounding",
                "activation",
            ),
            ("grouped", "indexed", "loop", "einsum"),
            costs.token_choice,
            ORACLE,
            _token_choice_impossible,
        ),
        Layer(
            "expert_choice",
            "Experts choice",
            "softmoe_ref.expert_choice:expert_choice",
            ("num_experts", "capacity_factor", "group_size", "capacity_rounding", "activation"),
            ("indexed", "einsum"),
            costs.expert_choice,
            ORACLE,
            _expert_choice_impossible,
        ),
    )
}


def find(name: str) -> Layer:
    """Returns the named layer; an import target stands for a layer from outside that takes the axes of `soft`.

    Raises:
        InputError: neither a name of the table nor an import target.
    """
    if name in TABLE:
        return TABLE[name]
    if ":" in name:
        return outside(name, like="soft")
    raise InputError(f"{unknown('layer', name, TABLE)}; a layer of your own is written package.module:factory")


def outside(target: str, *, like: str) -> Layer:
    """Returns a layer from outside, called with the axes of a layer of the table.

    Raises:
        InputError: the target has another form, or `like` is not in the table.
    """
    if not TARGET.fullmatch(target):
        raise InputError(f"layer '{target}' is no import target: write package.module:factory")
    if like not in TABLE:
        raise InputError(unknown("layer", like, TABLE))
    model = TABLE[like]
    return Layer(target, target, target, model.axes, (), None, None, model.impossible)


def of_case(axes: Mapping[str, AxisValue]) -> Layer:
    """Returns the layer of a case; one from outside takes the axes that the case has, whatever layer it is like."""
    name = str(axes["layer"])
    if name in TABLE:
        return TABLE[name]
    own = tuple(axis for axis in AXES if axis in axes and axis not in ("layer", *COMMON))
    return replace(outside(name, like="soft"), axes=own, impossible=Layer.impossible)


def cost(axes: Mapping[str, AxisValue]) -> Cost | None:
    """Returns parameters, FLOPs and bytes of one call of a case in its mode, None for a layer from outside."""
    layer = TABLE.get(str(axes["layer"]))
    if layer is None or layer.cost is None:
        return None
    return costs.for_mode(layer.cost(axes), str(axes["mode"]))

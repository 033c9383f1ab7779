"""The layers that can be measured: name, where it is imported from, the axes it takes, its backends, its costs.

To add a layer: its file, and one line in a `ROWS` beside this file. `bench` reaches a layer only through the import
string, which is resolved inside the worker; a layer from outside is just another string (`--layer mypkg.moe:MyMoE`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench import costs
from bench.axes import AXES, COMMON
from bench.errors import InputError, unknown
from bench.layers import controls, dropless, named, peers, soft, sparse, vit
from bench.layers.layer import ORACLE as ORACLE
from bench.layers.layer import PHASED as PHASED
from bench.layers.layer import TARGET as TARGET
from bench.layers.layer import Layer as Layer
from bench.layers.layer import Package as Package

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.axes import AxisValue
    from bench.costs import Cost

ROWS = (*soft.ROWS, *controls.ROWS, *sparse.ROWS, *named.ROWS, *dropless.ROWS, *peers.ROWS)
"""The layers that map tokens to tokens."""

DENSE = ("dense", "dense_active", "dense_total")
"""Those that route nothing, though some are sized by a number of experts."""

SPARSE = frozenset(layer.name for layer in (*sparse.ROWS, *named.ROWS, *dropless.ROWS))
"""Those of ours in which few experts work on each token."""

TABLE: dict[str, Layer] = {layer.name: layer for layer in (*ROWS, vit.of(ROWS))}


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
        InputError: the target has another form, `like` is not in the table, or nothing from outside can be like it.
    """
    if not TARGET.fullmatch(target):
        raise InputError(f"layer '{target}' is no import target: write package.module:factory")
    if like not in TABLE:
        raise InputError(unknown("layer", like, TABLE))
    model = TABLE[like]
    if model.parts:
        alone = ", ".join(layer.name for layer in TABLE.values() if not layer.parts)
        raise InputError(f"layer '{target}' cannot be measured beside {like}, only beside one of {alone}")
    return Layer(target, target, target, model.axes, (), None, None, model.impossible)


def of_case(axes: Mapping[str, AxisValue]) -> Layer:
    """Returns the layer of a case; one from outside takes the axes that the case has, whatever layer it is like."""
    name = str(axes["layer"])
    row = known(axes)
    if row is not None:
        return row
    own = tuple(axis for axis in AXES if axis in axes and axis not in ("layer", *COMMON))
    return replace(outside(name, like="soft"), axes=own, impossible=Layer.impossible)


def known(axes: Mapping[str, AxisValue]) -> Layer | None:
    """Returns the row of the table that a case belongs to, None for a layer from outside."""
    layer = TABLE.get(str(axes["layer"]))
    return None if layer is None else layer.part(axes)


def package(name: object) -> Package | None:
    """Returns where somebody else's layer of the table comes from, None for ours and for one from outside."""
    row = TABLE.get(str(name))
    return None if row is None else row.package


def cost(axes: Mapping[str, AxisValue]) -> Cost | None:
    """Returns parameters, FLOPs and bytes of one call of a case in its mode, None for a layer from outside."""
    layer = known(axes)
    if layer is None or layer.cost is None:
        return None
    return costs.for_mode(layer.cost(axes), str(axes["mode"]))

"""The Vision Transformer: one row for each variant and each layer that its last blocks can hold."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench import costs, images
from bench.axes import AXES
from bench.layers.layer import Layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bench.axes import AxisValue
    from bench.costs import Cost

NAME = "vit"


def of(layers: Iterable[Layer]) -> Layer:
    """Returns the Vision Transformer with those of the layers that the axis `moe` allows."""
    held = [layer for layer in layers if layer.name in AXES["moe"].allowed]
    parts = tuple(_part(variant, moe) for variant in costs.VARIANTS for moe in held)
    axes = tuple(dict.fromkeys(axis for part in parts for axis in part.axes))
    backends = tuple(dict.fromkeys(backend for part in parts for backend in part.backends))
    title = "Vision Transformer, in its last blocks the layer that moe names"
    return Layer(NAME, title, "softmoe_ref:build", axes, backends, parts=parts)


def _part(variant: str, moe: Layer) -> Layer:
    """Returns the row of a variant with a layer, whose activation is the backbone's, GELU."""
    return Layer(
        NAME,
        f"ViT with {moe.title}",
        "softmoe_ref:build",
        ("variant", "moe", *(axis for axis in moe.axes if axis != "activation")),
        moe.backends,
        None if moe.cost is None else partial(_cost, moe.cost),
        impossible=partial(_impossible, moe),
        chosen={"variant": variant, "moe": moe.name},
        implied=costs.VARIANTS[variant].axes,
        given=("layer",),
    )


def _cost(of_moe: Callable[[Mapping[str, AxisValue]], Cost], axes: Mapping[str, AxisValue]) -> Cost:
    """Returns the cost of a model whose layer has its own."""
    return costs.vit(axes, of_moe(axes))


def _impossible(moe: Layer, axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why a case has no meaning, or None."""
    return images.refuse(str(axes["input"])) or moe.impossible(axes)

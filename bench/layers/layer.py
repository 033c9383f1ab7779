"""What the harness knows of a layer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.axes import COMMON
from bench.environment import package_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.axes import AxisValue
    from bench.costs import Cost

TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""The form of an import target: `package.module:factory`."""

ORACLE = "softmoe_ref.oracle:forward"

PHASED = ("softmoe_ref.moe:MoE", "softmoe_ref.vit:ViT")
"""The classes of which it is known where the phases of a call begin and end."""


@dataclass(frozen=True)
class Package:
    """The distribution that somebody else's layer comes from, and what is known of that layer.

    `version` is the one that its adapter was made for; `differs` says in one sentence what the layer computes otherwise
    than ours and what the adapter changes; `matches` are the axes of the layer of ours that computes the same function,
    None where none does.
    """

    name: str
    version: str
    differs: str
    matches: Mapping[str, AxisValue] | None = None

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install {self.name}=={self.version}"

    @property
    def installed(self) -> str | None:
        """The installed version, read without importing anything, or None."""
        return package_versions([self.name])[self.name]


@dataclass(frozen=True)
class Layer:
    """One layer: `target` is called with its own axes, d_model and d_ff as keywords and returns (B, M, D) -> (B, M, D).

    `axes` are those it takes beside the common ones; the first of `backends` is the default; `cost` gives parameters,
    FLOPs and bytes of one forward call, None for a layer from outside, and so is `oracle`, the float64 truth;
    `impossible` says why a case has no meaning; `package` is where it comes from if it is not ours.

    A layer whose axes depend on the values of some of them consists of `parts`, one for each combination. In a part
    `chosen` are those axes with their values, and `implied` are common axes that follow from them, which a grid cannot
    set. `given` are the axes beside its own that the target is called with. A layer with `parts` is never measured
    itself: one of them is.
    """

    name: str
    title: str
    target: str
    axes: tuple[str, ...]
    backends: tuple[str, ...] = ()
    cost: Callable[[Mapping[str, AxisValue]], Cost] | None = None
    oracle: str | None = None
    impossible: Callable[[Mapping[str, AxisValue]], str | None] = lambda _axes: None
    chosen: Mapping[str, AxisValue] = field(default_factory=dict)
    implied: Mapping[str, AxisValue] = field(default_factory=dict)
    given: tuple[str, ...] = ("d_model", "d_ff")
    parts: tuple[Layer, ...] = ()
    package: Package | None = None

    @property
    def missing(self) -> str | None:
        """What to install before it can be measured, or None."""
        if self.package is None or self.package.installed:
            return None
        return f"{self.package.name} is not installed: {self.package.install}, or pip install 'softmoe-bench[peers]'"

    @property
    def of_case(self) -> tuple[str, ...]:
        """Every axis of a case of this layer."""
        backend = ("backend",) if self.backends else ()
        return ("layer", *backend, *self.axes, *COMMON)

    @property
    def takes(self) -> tuple[str, ...]:
        """The axes that a grid may set."""
        implied = {name for row in (self, *self.parts) for name in row.implied}
        return tuple(name for name in self.of_case if name not in implied)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The axes with which `target` is called."""
        backend = ("backend",) if self.backends else ()
        return (*self.given, *backend, *self.axes)

    @property
    def fixed(self) -> Mapping[str, AxisValue]:
        """The axes that have the same value in all its cases."""
        return {"layer": self.name, **self.chosen, **self.implied}

    @property
    def chosen_by(self) -> tuple[str, ...]:
        """The axes whose values choose among the parts."""
        return tuple(self.parts[0].chosen) if self.parts else ()

    def part(self, axes: Mapping[str, object]) -> Layer:
        """Returns the part that some axes choose, or the layer itself where none is called so."""
        wanted = {name: axes[name] for name in self.chosen_by}
        return next((part for part in self.parts if part.chosen == wanted), self)

"""From the words of a `softmoe` marker to the cases of a test: a sweep of a grid, or a whole grid."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import grid as grids
from bench import layers
from bench.axes import case_name
from bench.cli.asking import Asked
from bench.errors import InputError
from bench.layers import TARGET, outside
from bench.results import varying

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Planned

LIKE = "soft"
"""Over the axes of which layer one from outside is measured, unless the marker says so."""


@dataclass(frozen=True)
class Point:
    """One case of a test, with its name among the test's cases."""

    planned: Planned
    name: str

    def __repr__(self) -> str:
        return self.name  # what pytest shows of a parameter


def parametrize(metafunc: pytest.Metafunc, marks: Sequence[pytest.Mark]) -> None:
    """Makes a test of each case that markers ask for; what they say wrong is the error of its collection."""
    name = metafunc.definition.name
    if "softmoe" not in metafunc.fixturenames:
        if not any(mark.name == "softmoe" for mark in metafunc.definition.own_markers):
            return  # a class or module is marked for those of its tests that take the fixture
        pytest.fail(f"{name} is marked softmoe but does not take the fixture: def {name}(softmoe)", pytrace=False)
    from bench.worker import facts  # noqa: PLC0415  (torch)

    wrong = None
    try:
        found = points(marks, name, Path(metafunc.definition.path).parent, facts.devices())
    except InputError as error:
        found, wrong = [], str(error)
    if wrong is not None:  # outside of `except`, so that pytest shows this line alone
        pytest.fail(wrong, pytrace=False)
    metafunc.parametrize("softmoe", found, indirect=True, ids=[point.name for point in found])


def points(marks: Sequence[pytest.Mark], test: str, folder: Path, devices: Sequence[str]) -> list[Point]:
    """Returns the cases of a test's markers, the topmost first; those of several add up.

    Raises:
        InputError: a layer, axis, value, grid or factory that cannot be used.
    """
    found: dict[str, Planned] = {}
    for mark in reversed(marks):
        for planned in _asked(mark, f"softmoe marker of {test}", folder).plan(devices, measurable=False).cases:
            found.setdefault(planned.case.id, planned)
    shown = varying([planned.case for planned in found.values()])
    return [Point(planned, case_name(planned.case, shown)) for planned in found.values()]


def target_of(factory: object) -> str:
    """Returns the import string of a factory, which fresh processes can reach it by.

    Raises:
        InputError: it has none, as a lambda or a function within a function.
    """
    if isinstance(factory, str):
        return factory
    module, name = getattr(factory, "__module__", None), getattr(factory, "__qualname__", None)
    target = f"{module}:{name}"
    if not module or not name or not TARGET.fullmatch(target):
        shown = name or repr(factory)
        raise InputError(
            f"factory {shown} has no name that a fresh process could import it by (as lambdas, local functions and"
            " objects have none): define a class or function at the top of a module"
        )
    if getattr(sys.modules.get(module), name, None) is not factory:
        raise InputError(f"factory {target} is another object than the one of that name: give the one that is imported")
    return target


def _asked(mark: pytest.Mark, where: str, folder: Path) -> Asked:
    """Returns what one marker asks to measure."""
    axes = dict(mark.kwargs)
    grid, factory = axes.pop("grid", None), axes.pop("factory", None)
    if len(mark.args) > 1 or (mark.args and "layer" in axes):
        raise InputError(f'{where}: name one layer, as in softmoe("soft", num_experts=8); a list of layers is an axis')
    layer = mark.args[0] if mark.args else axes.pop("layer", None)
    if layer is None and grid is None and factory is None:
        raise InputError(f'{where}: say what to measure, as in softmoe("soft", num_experts=8) or softmoe(grid="quick")')
    own = () if factory is None else tuple(map(target_of, factory if isinstance(factory, list | tuple) else [factory]))
    if own and not isinstance(layer, str | None):
        raise InputError(f"{where}: a factory is measured over the axes of one layer, not of a list of them")
    if own and "backend" in axes:
        raise InputError(f"{where}: a layer from outside has no backend: leave backend out, or the factory")
    like = str(layer or LIKE)
    extra = [(like, outside(target, like=like)) for target in own]
    wanted = own or (() if layer is None or grid is None else tuple(layer if isinstance(layer, list) else [layer]))
    if grid is None:
        sweep = _sweep(axes, layer or LIKE, where)
        return Asked(sweep, {"layer": own} if own else {}, extra)
    overrides: dict[str, tuple[grids.GridValue, ...]] = {}
    if axes:
        overrides.update(_sweep(axes, LIKE, where).sweeps[0].axes)
        del overrides["layer"]
    if wanted:
        overrides["layer"] = wanted
    return Asked(grids.load(_place(grid, folder)), overrides, extra)


def _sweep(axes: Mapping[str, Any], layer: object, where: str) -> grids.Grid:
    """Returns the grid of one sweep; tuples are lists."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in axes.items()}
    return grids.parse({"sweep": [{"layer": layer, **plain}]}, source=where)


def _place(grid: object, folder: Path) -> str:
    """Returns a grid's name or path; a path beside the test's file goes before one from the current folder."""
    beside = folder / str(grid)
    return str(beside) if str(grid).endswith(".toml") and beside.is_file() else str(grid)


def replaced(planned: Planned, target: str) -> Planned:
    """Returns a case of a layer of ours with one from outside in its place.

    Raises:
        InputError: it cannot take that place.
    """
    case = planned.case
    if target in layers.TABLE:
        raise InputError(f"layer {target} is one of ours: name it in the marker; here goes one from outside, pkg.mod:F")
    name = str(case["layer"])
    outside(target, like=name if name in layers.TABLE else LIKE)
    axes = {axis: value for axis, value in case.items() if axis != "backend"}
    return replace(planned, case=type(case)({**axes, "layer": target}))

"""A grid becomes an ordered list of cases with stable ids, skips with reasons, and an estimate.

Pure but for one question: whether the package of somebody else's layer is installed.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench import estimates, inputs, layers
from bench import grid as grids
from bench.axes import AXES, AxisValue, label, show_value
from bench.errors import InputError, unknown
from bench.records import INSPECTION, Case, Planned, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.grid import Grid, GridValue, Sweep
    from bench.layers import Layer
    from bench.records import Settings


@dataclass(frozen=True)
class Plan:
    """What a run will do: every case of the grid in order, and remarks on what the overrides left out.

    `untimed` are the ids of cases that are only inspected.
    """

    grid: Grid
    cases: tuple[Planned, ...]
    remarks: tuple[str, ...] = ()
    untimed: frozenset[str] = frozenset()

    @property
    def layers(self) -> list[Layer]:
        """The layers of the cases that will be measured."""
        return list({str(case["layer"]): layers.of_case(case) for case in self.runnable}.values())

    @property
    def packages(self) -> list[str]:
        """The distributions, beside our own dependencies, of the layers that will be measured."""
        return list(dict.fromkeys(layer.package.name for layer in self.layers if layer.package))

    @property
    def runnable(self) -> list[Case]:
        """The cases that will be measured."""
        return [planned.case for planned in self.cases if planned.skip is None]

    def rounds(self, repeats: int, seed: int) -> Iterator[tuple[int, list[Case]]]:
        """Yields repeat number and order of the cases: the inspection, then timed rounds, each shuffled anew.

        Rounds over all cases keep a drift of the machine from falling on one case.
        """
        yield INSPECTION, self.runnable
        for repeat in range(1, repeats + 1):
            order = [case for case in self.runnable if case.id not in self.untimed and "study" not in case]
            random.Random(f"{seed}/{repeat}").shuffle(order)  # noqa: S311  (an order, not a secret)
            yield repeat, order


def task(case: Case, repeat: int, settings: Settings) -> Task:
    """Returns what a worker must know to measure one repeat of a case."""
    layer = layers.of_case(case)
    return Task(case, repeat, layer.target, layer.keywords, layer.oracle, settings)


def make(
    grid: Grid,
    *,
    overrides: Mapping[str, tuple[GridValue, ...]] | None = None,
    extra_layers: Sequence[tuple[str, Layer]] = (),
    devices: Sequence[str] = ("cpu",),
    memory: Mapping[str, int] | None = None,
    measurable: bool = True,
) -> Plan:
    """Returns the plan of a grid on a machine that has these devices, with so many bytes of memory each.

    Unless `measurable` is false, a plan of which nothing can be measured is refused.

    `overrides` replace axes of every sweep whose layer takes them; `extra_layers` are layers from outside, each
    measured beside the layer that it resembles (pairs of that layer's name and the layer).

    Raises:
        InputError: a layer, backend or axis that does not exist or that the layer does not take, or no case left.
    """
    overrides = dict(overrides or {})
    wanted_layers = overrides.pop("layer", None)
    used: list[Layer] = []
    found: dict[str, Planned] = {}
    remarks: dict[str, None] = {}
    for sweep in grid.sweeps:
        sweep_layers = _layers_of(sweep)
        own = {name: values for name, values in overrides.items() if name not in sweep.axes}
        _refuse_foreign_axes(sweep, [(layer, _rows(layer, sweep, grid, own)) for layer in sweep_layers])
        for known in sweep_layers:
            for layer in (known, *(extra for like, extra in extra_layers if like == known.name)):
                if wanted_layers is not None and layer.name not in wanted_layers:
                    continue
                for row in _rows(layer, sweep, grid, overrides):
                    used.append(row)
                    narrowed = _for_layer(sweep, grid, row, overrides, remarks)
                    for point in grids.expand(narrowed) if narrowed else ():
                        planned = _planned(row, point, devices, memory or {}, sweep.where)
                        found.setdefault(planned.case.id, planned)
    _check_used(grid, wanted_layers, used, overrides)
    _check_extra(grid, extra_layers)
    if not found:
        reason = next(iter(remarks), "its sweeps and overrides exclude every point")
        raise InputError(f"grid {grid.name} has no case left: {reason}")
    reasons = {planned.skip for planned in found.values()}
    if measurable and None not in reasons:
        raise InputError(f"grid {grid.name} has no case that can be measured: {'; '.join(sorted(map(str, reasons)))}")
    return Plan(grid, tuple(found.values()), tuple(remarks))


def single(layer: str, axes: Mapping[str, object], *, devices: Sequence[str] = ("cpu",)) -> Case:
    """Returns one case of a layer, axes that are not given at their defaults.

    Raises:
        InputError: an axis or value that the layer does not take, or a case that has no meaning.
    """
    grid = grids.parse({"sweep": [{"layer": layer, **axes}]}, source=layer)
    cases = make(grid, devices=devices).cases
    if len(cases) != 1:
        raise InputError(f"{layer}: one value for each axis, got {len(cases)} cases")
    return cases[0].case


def _for_layer(
    sweep: Sweep,
    grid: Grid,
    layer: Layer,
    overrides: Mapping[str, tuple[GridValue, ...]],
    remarks: dict[str, None],
) -> Sweep | None:
    """Returns the sweep as one layer sees it, or None where an override leaves the layer out."""
    merged = {name: _values(name, sweep, grid, layer, overrides) for name in layer.of_case}
    if "backend" in overrides or "backend" in merged:
        asked = [str(backend) for backend in merged.get("backend", overrides.get("backend", ()))]
        has = [backend for backend in asked if backend in layer.backends]
        lacks = [backend for backend in asked if backend not in layer.backends]
        if lacks and "backend" not in overrides:
            raise InputError(f"{sweep.where}: layer {_called(layer)}: {unknown('backend', lacks[0], layer.backends)}")
        if not has:
            remarks[f"layer {_called(layer)} has no backend {', '.join(lacks)} and is left out"] = None
            return None
        merged["backend"] = tuple(has)
    order = [name for name in sweep.axes if name in merged] + [name for name in merged if name not in sweep.axes]
    zipped = tuple(tuple(name for name in group if name in merged) for group in sweep.zipped)
    exclude = tuple(rule for rule in sweep.exclude if rule.keys() <= merged.keys())
    return replace(sweep, axes={name: merged[name] for name in order}, zipped=zipped, exclude=exclude)


def _values(
    name: str, sweep: Sweep, grid: Grid, layer: Layer, overrides: Mapping[str, tuple[GridValue, ...]]
) -> tuple[GridValue, ...]:
    """Returns the values of one axis for a layer: the override, else the sweep's, else a default."""
    if name in layer.fixed:
        return (layer.fixed[name],)
    if name in overrides:
        return overrides[name]
    if name in sweep.axes:
        return sweep.axes[name]
    if name in grid.defaults:
        return (grid.defaults[name],)
    if name == "backend":
        return layer.backends[:1]
    axis = AXES[name]
    if axis.required:
        raise InputError(f"{sweep.where}: layer {layer.name} needs {name} = {axis.describe()}")
    return (axis.default,)


def _layers_of(sweep: Sweep) -> list[Layer]:
    """Returns the layers that a sweep names."""
    try:
        return [layers.find(str(name)) for name in sweep.axes["layer"]]
    except InputError as error:
        raise InputError(f"{sweep.where}: {error}") from None


def _rows(layer: Layer, sweep: Sweep, grid: Grid, overrides: Mapping[str, tuple[GridValue, ...]]) -> list[Layer]:
    """Returns the rows of a layer that a sweep asks for: the parts that its values choose, or the layer itself."""
    for name in layer.chosen_by:
        if any(name in group for group in sweep.zipped):
            raise InputError(f"{sweep.where}: zip cannot walk {name}: write one [[sweep]] for each value")
    values = [_values(name, sweep, grid, layer, overrides) for name in layer.chosen_by]
    points = (dict(zip(layer.chosen_by, point, strict=True)) for point in itertools.product(*values))
    return [layer.part(point) for point in points]


def _called(layer: Layer) -> str:
    """Returns a layer's name, with the values that choose a part."""
    chosen = label(layer.chosen, tuple(layer.chosen))
    return f"{layer.name} with {chosen}" if chosen else layer.name


def _refuse_foreign_axes(sweep: Sweep, named: Sequence[tuple[Layer, Sequence[Layer]]]) -> None:
    """Refuses axes that no row of a layer takes, and excluded ones that none of any has: they would be ignored."""
    for layer, rows in named:
        for name in sweep.axes:
            if any(name in row.takes for row in rows):
                continue
            if any(name in row.implied for row in rows):
                by = " and ".join(layer.chosen_by)
                raise InputError(f"{sweep.where}: layer {layer.name} does not take the axis {name}: {by} decide it")
            called = _called(rows[0] if len(rows) == 1 else layer)
            takes = ", ".join(dict.fromkeys(name for row in rows for name in row.takes))
            raise InputError(f"{sweep.where}: layer {called} does not take the axis {name} (it takes: {takes})")
    for name in (name for rule in sweep.exclude for name in rule):
        if not any(name in row.of_case for _, rows in named for row in rows):
            own = ", ".join(layer.name for layer, _ in named)
            raise InputError(f"{sweep.where}: exclude: the axis {name} is taken by no layer of this sweep ({own})")


def _planned(
    layer: Layer, point: Mapping[str, AxisValue], devices: Sequence[str], memory: Mapping[str, int], where: str
) -> Planned:
    """Returns the case of a point with its device decided, and why it cannot be measured if so."""
    axes = dict(point)
    if axes["device"] == "auto":
        axes["device"] = "cuda" if "cuda" in devices else "cpu"
    try:
        kind, exponent = inputs.parse(str(axes["input"]))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    axes["input"] = kind if exponent is None else f"{kind}:{show_value(exponent)}"
    if axes["mode"] == "train_step" and axes["optimizer"] is None:
        axes["optimizer"] = "adamw"
    case = Case(axes)
    if axes["device"] not in devices:
        return Planned(case, f"this machine has no device {axes['device']}")
    reason = _meaningless(axes) or layer.impossible(axes) or layer.missing or estimates.too_large(axes, memory)
    return Planned(case, reason)


def _meaningless(axes: Mapping[str, AxisValue]) -> str | None:
    """Returns why the common axes of a case do not go together, or None."""
    if axes["device"] == "cuda" and axes["threads"] is not None:
        return "threads counts CPU threads and means nothing on cuda"
    if axes["optimizer"] is not None and axes["mode"] != "train_step":
        return f"optimizer={axes['optimizer']} means nothing in mode={axes['mode']}, only in train_step"
    if axes["launch"] == "graph" and axes["device"] != "cuda":
        return f"launch=graph replays CUDA graphs and means nothing on {axes['device']}"
    if axes["launch"] == "compile" and axes.get("backend") == "compile":
        return "backend=compile is compiled already: launch=compile would measure the same twice"
    return None


def _check_used(
    grid: Grid,
    wanted: tuple[GridValue, ...] | None,
    used: Sequence[Layer],
    overrides: Mapping[str, tuple[GridValue, ...]],
) -> None:
    """Refuses overrides that would change nothing."""
    for name in wanted or ():
        if name not in [layer.name for layer in used]:
            try:
                layers.find(str(name))
            except InputError as error:
                raise InputError(f"--set layer={name}: {error}") from None
            own = sorted({str(value) for sweep in grid.sweeps for value in sweep.axes["layer"]})
            raise InputError(f"--set layer={name}: grid {grid.name} has only {', '.join(own)}")
    for name in overrides:
        if not any(name in layer.takes for layer in used):
            takers = [layer.name for layer in layers.TABLE.values() if name in layer.takes]
            raise InputError(
                f"--set {name}: no layer of grid {grid.name} takes it here (layers that do: {', '.join(takers)})"
            )
    has = dict.fromkeys(backend for layer in used for backend in layer.backends)
    for backend in overrides.get("backend", ()):
        if backend not in has:
            raise InputError(f"--set backend={backend}: {unknown('backend', str(backend), has)}")


def _check_extra(grid: Grid, extra_layers: Sequence[tuple[str, Layer]]) -> None:
    """Refuses a layer from outside that resembles none of the grid's: it would not be measured."""
    own = sorted({str(value) for sweep in grid.sweeps for value in sweep.axes["layer"]})
    for like, layer in extra_layers:
        if like not in own:
            raise InputError(
                f"--layer {layer.name}: it is measured beside {like}, but grid {grid.name} has only {', '.join(own)}; "
                f"write --layer LIKE={layer.name} with LIKE one of these"
            )

"""`softmoe-bench list`: the layers, grids, metrics and runs that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.options import json_option, store_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.layers import Package


def _layers() -> list[dict[str, str]]:
    """Returns the layers with their axes and backends."""
    from bench import layers  # noqa: PLC0415

    return [
        {
            "name": layer.name,
            "text": layer.title,
            "axes": ", ".join(layer.axes),
            "backends": ", ".join(layer.backends) or "one",
            "needs": _needs(layer.package),
        }
        for layer in layers.TABLE.values()
    ]


def _needs(package: Package | None) -> str:
    """Returns what a layer needs beside our own dependencies, and whether it is there."""
    if package is None:
        return ""
    if package.installed:
        return f"{package.name}, installed {package.installed}"
    return f"{package.name}, not installed ({package.install})"


def _grids() -> list[dict[str, str]]:
    """Returns the bundled grids with the question that each answers."""
    from bench import grid  # noqa: PLC0415

    return [{"name": name, "text": grid.load(name).description} for name in grid.bundled()]


def _axes() -> list[dict[str, str]]:
    """Returns the axes with what they take."""
    from bench.axes import AXES, show_value  # noqa: PLC0415

    return [
        {
            "name": axis.name,
            "text": axis.text,
            "takes": axis.describe(),
            "default": "must be given" if axis.required else show_value(axis.default),
        }
        for axis in AXES.values()
    ]


def _metrics() -> list[dict[str, str]]:
    """Returns the metrics with their units."""
    from bench import metrics  # noqa: PLC0415

    return [
        {"name": m.name, "text": m.text, "unit": m.unit, "better": m.better or "neither"}
        for m in metrics.TABLE.values()
    ]


ABOUT: dict[str, Callable[[], list[dict[str, str]]]] = {
    "layers": _layers,
    "grids": _grids,
    "axes": _axes,
    "metrics": _metrics,
}
"""What can be listed without a store."""


@click.command("list")
@click.argument("what", type=click.Choice([*ABOUT, "runs"]))
@store_option
@json_option
def list_things(what: str, store: str | None, as_json: bool) -> None:  # noqa: FBT001  (click passes flags by name)
    """List layers, grids, axes, metrics or the runs of a store."""
    from bench.cli import answer  # noqa: PLC0415

    rows = _runs(store) if what == "runs" else ABOUT[what]()
    if as_json:
        answer.write(rows)
        return
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        rest = "; ".join(f"{key}: {value}" for key, value in row.items() if key not in ("name", "text") and value)
        click.echo(f"{row['name']:<{width}}  {row['text']}" + (f" ({rest})" if rest else ""))


def _runs(store: str | None) -> list[dict[str, str]]:
    """Returns the runs of a store, oldest first."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from bench.store import open_store  # noqa: PLC0415

    return [
        {
            "name": run.name,
            "text": f"{run.id}, {datetime.fromtimestamp(run.started, UTC):%Y-%m-%d %H:%M} UTC, {run.state}",
            "grid": run.grid,
        }
        for run in open_store(store).runs()
    ]

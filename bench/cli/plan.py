"""`softmoe-bench plan`: what a run would measure."""

from __future__ import annotations

import click

from bench.cli.options import json_option, layer_option, more_settings, set_option
from bench.errors import InputError


@click.command()
@click.option("--grid", metavar="NAME|FILE", help="Bundled grid (see `list grids`) or a TOML file.")
@set_option
@more_settings
@layer_option
@json_option
def plan(
    grid: str | None,
    settings: tuple[str, ...],
    more: tuple[str, ...],
    layers: tuple[str, ...],
    as_json: bool,  # noqa: FBT001  (click passes flags by name)
) -> None:
    """Show the cases of a grid in order, what is skipped and why, and about how long it takes.

    Nothing is measured; whether this machine has a GPU is asked of its driver.
    """
    from bench import units  # noqa: PLC0415
    from bench.axes import AXES, label  # noqa: PLC0415
    from bench.cli import answer  # noqa: PLC0415
    from bench.cli.asking import understand  # noqa: PLC0415
    from bench.gpus import gpus  # noqa: PLC0415
    from bench.records import Settings  # noqa: PLC0415

    if grid is None:
        raise InputError("say which grid to plan: --grid NAME|FILE (see `softmoe-bench list grids`)")
    asked = understand(grid, [*settings, *more], layers)
    found = asked.plan(("cpu", "cuda") if gpus() else ("cpu",))
    told = Settings(**asked.grid.run)  # type: ignore[arg-type]
    seconds = found.estimated_seconds(told.repeats, told.max_seconds)
    if as_json:
        cases = [{"case": p.case.id, "axes": dict(p.case), "skip": p.skip} for p in found.cases]
        answer.write({"grid": found.grid.name, "cases": cases, "estimated_seconds": seconds})
        return
    click.echo(f"{found.grid.name}: {found.grid.description}")
    for planned in found.cases:
        words = label(planned.case, [name for name in AXES if planned.case.get(name) is not None])
        click.echo(f"{planned.case.id}  {words}" + (f"  (skipped: {planned.skip})" if planned.skip else ""))
    for remark in found.remarks:
        click.echo(f"note: {remark}", err=True)
    skipped = len(found.cases) - len(found.runnable)
    click.echo(
        f"{len(found.runnable)} cases, {skipped} skipped; {told.repeats} timed processes each and one inspection, "
        f"at most about {units.format_duration(seconds)}"
    )

"""`softmoe-bench plan`: what a run would measure, and about what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import json_option, layer_option, more_settings, set_option, store_option
from bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.estimates import Experience
    from bench.records import Planned, Settings


@click.command()
@click.option("--grid", metavar="NAME|FILE", help="Bundled grid (see `list grids`) or a TOML file.")
@set_option
@more_settings
@layer_option
@store_option
@click.option("--repeats", type=click.IntRange(1), help="As for run: fresh processes that time each case.")
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), help="As for run: sampling time per process.")
@json_option
def plan(
    grid: str | None,
    settings: tuple[str, ...],
    more: tuple[str, ...],
    layers: tuple[str, ...],
    store: str | None,
    repeats: int | None,
    max_seconds: float | None,
    as_json: bool,  # noqa: FBT001  (click passes flags by name)
) -> None:
    """Show the cases of a grid in order, the memory and time that each needs, what is skipped and why.

    Nothing is measured; whether this machine has a GPU is asked of its driver. Where the store holds earlier runs on
    this machine, times are what its cases took then.
    """
    import textwrap  # noqa: PLC0415

    from bench import units  # noqa: PLC0415
    from bench.axes import label  # noqa: PLC0415
    from bench.cli import answer, terminal  # noqa: PLC0415
    from bench.cli.asking import understand  # noqa: PLC0415
    from bench.gpus import gpus  # noqa: PLC0415
    from bench.records import Settings  # noqa: PLC0415

    if grid is None:
        raise InputError("say which grid to plan: --grid NAME|FILE (see `softmoe-bench list grids`)")
    asked = understand(grid, [*settings, *more], layers)
    found = asked.plan(("cpu", "cuda") if gpus() else ("cpu",))
    given = {"repeats": repeats, "max_seconds": max_seconds}
    told = Settings(**{**asked.grid.run, **{k: v for k, v in given.items() if v is not None}})  # type: ignore[arg-type]
    before = _experience(store, told.max_seconds)
    cases = [_case(planned, told, before) for planned in found.cases]
    seconds = sum(case["estimated_seconds"] or 0.0 for case in cases)
    if as_json:
        answer.write({"grid": found.grid.name, "cases": cases, "estimated_seconds": seconds})
        return
    click.echo(f"{found.grid.name}: {found.grid.description}")
    apart, shared = _axes(found.cases)
    if shared:
        click.echo(textwrap.fill(f"In every case: {shared}", terminal.WIDTH, subsequent_indent="  "))
    for planned, case in zip(found.cases, cases, strict=True):
        click.echo(f"{case['case']}  {label(planned.case, apart)}  ({_needs(case)})")
    for remark in found.remarks:
        click.echo(f"note: {remark}", err=True)
    skipped = len(found.cases) - len(found.runnable)
    largest = max((case["estimated_bytes"] or 0 for case in cases if case["skip"] is None), default=0)
    click.echo(
        f"{len(found.runnable)} cases, {skipped} skipped; {told.repeats} timed processes each and one inspection, "
        f"about {units.format_duration(seconds)}, up to {units.format_value(largest, 'B')} by formula"
    )


def _experience(store: str | None, max_seconds: float) -> Experience:
    """Returns what a store that exists tells of this machine; nothing where there is none."""
    from pathlib import Path  # noqa: PLC0415

    from bench import environment, estimates  # noqa: PLC0415

    if store is None:
        from bench.schema import DEFAULT  # noqa: PLC0415

        if not Path(DEFAULT).exists():
            return estimates.Experience()
    from bench.store import open_store  # noqa: PLC0415

    opened = open_store(store)
    try:
        return estimates.experience(opened, environment.comparable_facts(), max_seconds)
    finally:
        opened.close()


def _case(planned: Planned, told: Settings, before: Experience) -> dict[str, Any]:
    """Returns one case with what it needs, as plain data."""
    from bench import estimates  # noqa: PLC0415

    needed: dict[str, Any] = {"estimated_bytes": None, "estimated_seconds": None, "measured_before": False}
    if planned.skip is None:
        known = before.seconds.get(planned.case.id)
        guess = estimates.process_seconds(planned.case, told.max_seconds, flops_per_s=before.rate(planned.case))
        needed = {
            "estimated_bytes": estimates.peak_bytes(planned.case),
            "estimated_seconds": (told.repeats + 1) * (guess if known is None else known),
            "measured_before": known is not None,
        }
    return {"case": planned.case.id, "axes": dict(planned.case), "skip": planned.skip, **needed}


def _axes(cases: Sequence[Planned]) -> tuple[list[str], str]:
    """Returns the axes that tell cases apart or that only some have, and those that all share with their values."""
    from bench.axes import AXES, label  # noqa: PLC0415
    from bench.results import varying  # noqa: PLC0415

    said = [name for name in AXES if any(planned.case.get(name) is not None for planned in cases)]
    different = {"layer", *varying(planned.case for planned in cases)}
    shared = [n for n in said if n not in different and all(n in planned.case for planned in cases)]
    if len(cases) == 1:
        shared = []
    return [name for name in said if name not in shared], label(cases[0].case, shared)


def _needs(case: dict[str, Any]) -> str:
    """Returns memory and time of a case in words, or why it is skipped."""
    from bench import units  # noqa: PLC0415

    if case["skip"] is not None:
        return f"skipped: {case['skip']}"
    size = case["estimated_bytes"]
    memory = "memory unknown" if size is None else f"about {units.format_value(size, 'B')}"
    return f"{memory}, {units.format_duration(case['estimated_seconds'])}{' as before' * case['measured_before']}"

"""`softmoe-bench calibrate`: what this machine's devices reach at best, kept for its runs to be held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import json_option, store_option
from bench.errors import InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.peaks import Peak
    from bench.records import Ceiling, Environment

ROUGH = 0.10
"""Spread of the samples of a ceiling, interquartile range over median, above which it is called rough."""


@click.command()
@store_option
@click.option("--device", help="cpu or cuda (default: every device that this machine has).")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    help="Time for each number format and for the memory.",
)
@json_option
def calibrate(store: str | None, device: str | None, seconds: float, as_json: bool) -> None:  # noqa: FBT001
    """Measure what this machine's devices reach at best; runs made here, before or after, are held against it.

    A worker process multiplies matrices in every number format and moves memory. The figures belong to this machine
    with this torch; calibrating again replaces them. What is measured while something else uses the machine is shown,
    and not kept.
    """
    from bench import executors  # noqa: PLC0415
    from bench.cli import answer  # noqa: PLC0415
    from bench.records import Environment  # noqa: PLC0415
    from bench.run import comparable_facts  # noqa: PLC0415
    from bench.schema import check  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    check(store)
    with executors.make("isolated") as executor:
        probe = executor.probe([])
        if device is not None and device not in probe.devices:
            raise InputError(unknown("device", device, probe.devices))
        machine = Environment(comparable_facts(probe))
        ceilings: list[Ceiling] = []
        for name in (device,) if device else probe.devices:
            click.echo(f"calibrating {name}: about {seconds:g} s for each number format and for memory", err=True)
            ceilings += executor.calibrate(name, seconds)
    opened = open_store(store, create=True)
    spoilt = {(ceiling.device, ceiling.what) for ceiling in ceilings if ceiling.disturbed}
    before = [c for c in opened.ceilings(machine.fingerprint) if (c.device, c.what) in spoilt]
    opened.keep_ceilings(machine, [*before, *(c for c in ceilings if not c.disturbed)])
    opened.close()
    rows = [_row(ceiling, _sheet(ceiling, machine)) for ceiling in ceilings]
    if as_json:
        answer.write({"fingerprint": machine.fingerprint, "machine": machine.comparable, "ceilings": rows})
        return
    for name in dict.fromkeys(ceiling.device for ceiling in ceilings):
        _show(name, [row for row in rows if row["device"] == name], machine)
    if spoilt:
        click.echo("not kept: what was measured while something else used the machine; calibrate again when it is idle")
    if len(spoilt) < len(rows):
        click.echo(f"kept in {opened.shown_as} for runs on this machine ({machine.fingerprint})")


def _sheet(ceiling: Ceiling, machine: Environment) -> Peak | None:
    """Returns the data sheet of the device that a ceiling was measured on."""
    from bench import peaks  # noqa: PLC0415

    return peaks.of_machine(machine.comparable) if ceiling.device == "cuda" else None


def _row(ceiling: Ceiling, sheet: Peak | None) -> dict[str, Any]:
    """Returns a ceiling beside the data sheet's as plain data."""
    from bench.stats import relative_spread  # noqa: PLC0415

    promised = None
    if sheet is not None:
        promised = sheet.bandwidth if ceiling.what == "bandwidth" else sheet.flops_per_s.get(ceiling.what)
    return {
        "device": ceiling.device,
        "what": ceiling.what,
        "unit": ceiling.unit,
        "measured": ceiling.value,
        "datasheet": promised,
        "share": None if promised is None else ceiling.value / promised,
        "spread": relative_spread(ceiling.samples),
        "best": ceiling.detail,
        "disturbed": ceiling.disturbed or None,
        "source": None if promised is None or sheet is None else sheet.source,
    }


def _show(device: str, rows: Sequence[dict[str, Any]], machine: Environment) -> None:
    """Prints the ceilings of a device."""
    from bench import units  # noqa: PLC0415

    name = machine.comparable.get("gpu" if device == "cuda" else "cpu")
    click.echo(f"{device}: {name or 'a device without a name'}")
    click.echo(f"  {'':<10} {'measured':>13} {'data sheet':>13} {'share':>7}  fastest way")
    for row in rows:
        if row["what"] == "cache":
            continue
        figures = [units.format_value(row[key], row["unit"]) for key in ("measured", "datasheet")]
        share = units.format_value(row["share"], "ratio")
        note = f" (rough: ±{row['spread'] / 2:.0%})" if _rough(row) else ""
        note += f" (not kept: {row['disturbed']})" if row["disturbed"] else ""
        click.echo(f"  {row['what']:<10} {figures[0]:>13} {figures[1]:>13} {share:>7}  {row['best']}{note}")
    if any(_rough(row) for row in rows):
        click.echo(f"  rough: half of the samples lie more than {ROUGH:.0%} apart; calibrate again on an idle machine")
    source = next((row["source"] for row in rows if row["source"]), None)
    if source:
        click.echo(f"  data sheet: {source}")
    elif device == "cuda":
        click.echo("  data sheet: unknown for this GPU, so its runs have no MFU, but a share of what was measured here")


def _rough(row: dict[str, Any]) -> bool:
    """Returns whether the samples of a ceiling do not agree."""
    return row["spread"] is not None and row["spread"] > ROUGH

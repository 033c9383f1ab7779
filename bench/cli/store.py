"""`softmoe-bench store`: what the results store holds, and what of it may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import json_option, store_option
from bench.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.retention import Choice, Held
    from bench.store import Store

LARGEST = 5
"""Runs that `info` names."""


@click.group()
def store() -> None:
    """Say what the results store holds, and prune old runs."""


@store.command()
@store_option
@json_option
def info(store: str | None, as_json: bool) -> None:  # noqa: FBT001  (click passes flags by name)
    """Say how large the store is, what it holds, and which runs take most of it."""
    from bench import retention, units  # noqa: PLC0415
    from bench.cli import answer  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    opened = open_store(store)
    runs, size = retention.held(opened), opened.size()
    baselines = {baseline.name: baseline.run for baseline in opened.baselines()}
    largest = sorted(runs, key=lambda one: -one.bytes)[:LARGEST]
    totals = {"outcomes": sum(one.outcomes for one in runs), "samples": sum(one.samples for one in runs)}
    if as_json:
        names = {name: run.id for name, run in baselines.items()}
        rest = {"largest": [_plain(one) for one in largest], "baselines": names}
        answer.write({"store": opened.shown_as, "bytes": size, "runs": len(runs), **totals, **rest})
        return
    click.echo(f"{opened.shown_as}: {units.format_value(size, 'B')}, {_several(len(runs), 'run')}")
    click.echo(f"{_several(totals['outcomes'], 'outcome')}, {_several(totals['samples'], 'sample')}")
    if largest:
        click.echo("largest runs (bytes of their samples and facts):")
    for one in largest:
        click.echo(f"  {_row(one)}")
    for name, run in baselines.items():
        click.echo(f"baseline {name}: run {run.name} ({run.id})")
    if not baselines:
        click.echo("no baseline yet; save one with `softmoe-bench baseline save NAME [RUN]`", err=True)


@store.command()
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Keep the newest N runs of each grid.")
@click.option("--older-than", metavar="AGE", help="Delete only runs begun so long ago: 36h, 90d or 12w.")
@click.option("--grid", metavar="NAME", help="Look at the runs of this grid only.")
@click.option("--force", is_flag=True, help="Delete runs marked as running, too: killed programs leave such ones.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@store_option
@json_option
def prune(
    keep: int | None,
    older_than: str | None,
    grid: str | None,
    force: bool,  # noqa: FBT001  (click passes flags by name)
    dry_run: bool,  # noqa: FBT001
    store: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Delete old runs with all their samples; never one that a baseline stands for.

    With both --keep and --older-than, a run goes only if neither keeps it.
    """
    import time  # noqa: PLC0415

    from bench import retention  # noqa: PLC0415
    from bench.cli import answer  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    if keep is None and older_than is None:
        raise InputError("store prune: say what may go, with --keep N (newest runs of each grid) or --older-than 90d")
    age = None if older_than is None else retention.parse_age(older_than)
    opened = open_store(store)
    runs = retention.held(opened)
    choice = retention.choose(
        runs if grid is None else retention.of_grid(runs, grid),
        {baseline.run.id: baseline.name for baseline in opened.baselines()},
        now=time.time(),
        keep=keep,
        older_than=age,
        force=force,
    )
    sizes = {"before": opened.size(), "after": opened.size() if dry_run else _delete(opened, choice)}
    if as_json:
        lists = {"deleted": [_plain(one) for one in choice.going], "kept": [one.run.id for one, _ in choice.protected]}
        answer.write({"dry_run": dry_run, **lists, "bytes": sizes})
    else:
        _say(choice, sizes, dry_run=dry_run)


def _delete(opened: Store, choice: Choice) -> int | None:
    """Deletes what was chosen and returns the size of the store after it."""
    if choice.going:
        opened.delete_runs([one.run.id for one in choice.going])
        try:
            opened.shrink()
        except StoreError as error:
            click.echo(f"the runs are gone, but {error}; its room is used again by later runs", err=True)
    return opened.size()


def _say(choice: Choice, sizes: Mapping[str, int | None], *, dry_run: bool) -> None:
    """Prints what went and what stayed although it was old."""
    from bench import units  # noqa: PLC0415

    for one in choice.going:
        click.echo(f"{'would delete' if dry_run else 'deleted'} {_row(one)}")
    for one, why in choice.protected:
        click.echo(f"kept {one.run.name} ({one.run.id}): {why}", err=True)
    before, after = (units.format_value(sizes[when], "B") for when in ("before", "after"))
    count, total = _several(len(choice.going), "run"), sum(one.bytes for one in choice.going)
    if not choice.going:
        click.echo(f"nothing to delete: {before}")
    elif dry_run:
        click.echo(f"{count} of {units.format_value(total, 'B')} would go; {before} now")
    else:
        click.echo(f"{count} deleted: {before} before, {after} after")


def _row(one: Held) -> str:
    """Returns a run in one line: what it is, when it began, and what it takes."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from bench import units  # noqa: PLC0415

    begun = datetime.fromtimestamp(one.run.started, UTC)
    counts = f"{_several(one.outcomes, 'outcome')}, {_several(one.samples, 'sample')}"
    size = units.format_value(one.bytes, "B")
    return f"{one.run.name} ({one.run.id}), {begun:%Y-%m-%d}, grid {one.run.grid}: {counts}, {size}"


def _plain(one: Held) -> dict[str, Any]:
    """Returns a run and what it takes as plain data."""
    what = {"run": one.run.name, "id": one.run.id, "grid": one.run.grid, "started": one.run.started}
    return {**what, "outcomes": one.outcomes, "samples": one.samples, "bytes": one.bytes}


def _several(count: int, noun: str) -> str:
    """Returns a count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

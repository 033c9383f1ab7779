"""`softmoe-bench baseline`: names for runs to compare with."""

from __future__ import annotations

import click

from bench.cli.options import json_option, store_option
from bench.errors import InputError


@click.group()
def baseline() -> None:
    """Save, list, show and delete baselines; compare with one as baseline:NAME."""


@baseline.command()
@click.argument("name")
@click.argument("run", default="latest")
@store_option
def save(name: str, run: str, store: str | None) -> None:
    """Let NAME stand for RUN (default: the latest)."""
    from bench.store import open_store  # noqa: PLC0415

    if not name or name.startswith("baseline:"):
        raise InputError(f"baseline name '{name}': give a plain word; baseline:NAME is how a run is called later")
    opened = open_store(store)
    found = opened.find(run)
    if found.state != "complete":
        raise InputError(f"run {found.name} is {found.state}; finish it with `softmoe-bench run --resume {found.name}`")
    opened.save_baseline(name, found)
    click.echo(f"baseline {name}: run {found.name} ({found.id})")


@baseline.command("list")
@store_option
@json_option
def list_baselines(store: str | None, as_json: bool) -> None:  # noqa: FBT001  (click passes flags by name)
    """List the baselines."""
    from bench.cli import answer  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    found = open_store(store).baselines()
    if as_json:
        answer.write([{"name": b.name, "run": b.run.name, "id": b.run.id, "saved": b.saved} for b in found])
    elif not found:
        click.echo("no baseline yet; save one with `softmoe-bench baseline save NAME [RUN]`", err=True)
    for b in [] if as_json else found:
        click.echo(f"{b.name}  run {b.run.name} ({b.run.id}), grid {b.run.grid}")


@baseline.command()
@click.argument("name")
@store_option
@json_option
def show(name: str, store: str | None, as_json: bool) -> None:  # noqa: FBT001  (click passes flags by name)
    """Show the run that a baseline stands for."""
    from bench import results  # noqa: PLC0415
    from bench.cli import answer, terminal  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    opened = open_store(store)
    found = results.load(opened, opened.baseline(name).run)
    if as_json:
        answer.write(answer.of_run(found))
    else:
        terminal.show_run(found)


@baseline.command()
@click.argument("name")
@store_option
def delete(name: str, store: str | None) -> None:
    """Forget a baseline; its run stays."""
    from bench.store import open_store  # noqa: PLC0415

    open_store(store).delete_baseline(name)
    click.echo(f"baseline {name} is forgotten")

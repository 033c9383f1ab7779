"""`softmoe-bench baseline`: names for runs to compare with."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import json_option, store_option, writable, writing
from bench.errors import InputError


@click.group()
def baseline() -> None:
    """Save, list, show, delete, export and import baselines; compare with one as baseline:NAME."""


@baseline.command()
@click.argument("name")
@click.argument("run", default="latest")
@store_option
def save(name: str, run: str, store: str | None) -> None:
    """Let NAME stand for RUN (default: the latest)."""
    from bench.exchange.keeping import check_name  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    check_name(name)
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
    from bench.cli import answer, run_table  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    opened = open_store(store)
    found = results.load(opened, opened.baseline(name).run)
    if as_json:
        answer.write(answer.of_run(found))
    else:
        run_table.show(found)


@baseline.command()
@click.argument("name")
@store_option
def delete(name: str, store: str | None) -> None:
    """Forget a baseline; its run stays."""
    from bench.store import open_store  # noqa: PLC0415

    open_store(store).delete_baseline(name)
    click.echo(f"baseline {name} is forgotten")


@baseline.command("export")
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@store_option
def export_baseline(name: str, output: Path, store: str | None) -> None:
    """Write a baseline as one small file for git: medians per process and exact figures, laid out for a diff."""
    from bench import results, units  # noqa: PLC0415
    from bench.exchange import baseline as form  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    writable(output, "baseline export")
    opened = open_store(store)
    found = results.load(opened, opened.baseline(name).run)
    text = form.write(found, name)
    with writing(output, "baseline export"):
        output.write_text(text, encoding="utf-8")
    size = units.format_value(len(text.encode()), "B")
    click.echo(f"{output}: baseline {name}, run {found.run.name}, {len(found.cases)} cases, {size}")


@baseline.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the baseline (default: the file's own).")
@click.option("--replace", "replacing", is_flag=True, help="Let the name stand for the file's run from now on.")
@store_option
def import_baseline(file: Path, name: str | None, replacing: bool, store: str | None) -> None:  # noqa: FBT001
    """Read a baseline's file into the store; importing it twice changes nothing."""
    from bench import exchange  # noqa: PLC0415
    from bench.cli.import_ import keep_one, read_one  # noqa: PLC0415
    from bench.exchange import baseline_reading  # noqa: PLC0415
    from bench.exchange.baseline import is_one  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    fields = exchange.load(file)
    if not is_one(fields):
        fields.refuse("no baseline of softmoe-bench; `baseline export NAME -o FILE` writes one, `import` reads others")
    recorded = read_one(baseline_reading.read, fields, name)
    keep_one(open_store(store, create=True), recorded, name=name, replacing=replacing)

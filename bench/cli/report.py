"""`softmoe-bench report`: one HTML file that can be sent to somebody."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import store_option, writable, writing


@click.command()
@click.argument("runs", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True)
@store_option
def report(runs: tuple[str, ...], output: Path, store: str | None) -> None:
    """Write a report of RUNS (default: the latest)."""
    from bench import report as reporting  # noqa: PLC0415
    from bench import results  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    writable(output, "report")
    opened = open_store(store)
    found = {run.id: run for run in (opened.find(word) for word in runs or ("latest",))}
    loaded = [results.load(opened, run) for run in found.values()]
    with writing(output, "report"):
        reporting.write(loaded, output)
    click.echo(str(output))

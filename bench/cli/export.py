"""`softmoe-bench export`: runs as tidy rows for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import store_option, writable
from bench.errors import InputError

FORMATS = ("csv", "json", "parquet")


@click.command()
@click.argument("runs", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: the ending of the file.")
@click.option("--summary", is_flag=True, help="One row per case and metric with its interval, not one per sample.")
@store_option
def export(
    runs: tuple[str, ...],
    output: Path,
    form: str | None,
    summary: bool,  # noqa: FBT001  (click passes flags by name)
    store: str | None,
) -> None:
    """Export RUNS (default: the latest) as one table: a row per sample, a column per axis."""
    chosen = form or output.suffix.removeprefix(".").lower()
    if chosen not in FORMATS:
        raise InputError(f"export {output}: the ending says no format; use --format {' | '.join(FORMATS)}")
    writable(output, "export")
    from bench import results, table  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    opened = open_store(store)
    found = [results.load(opened, opened.find(word)) for word in runs or ("latest",)]
    frame = table.summary(found) if summary else table.tidy(found)
    if chosen == "csv":
        frame.to_csv(output, index=False)
    elif chosen == "json":
        frame.to_json(output, orient="records", indent=1)
    else:
        try:
            frame.to_parquet(output, index=False)
        except ImportError:
            raise InputError("Parquet needs pyarrow: pip install 'softmoe-bench[parquet]', or use csv") from None
    click.echo(f"{output}: {len(frame)} rows, {len(frame.columns)} columns")

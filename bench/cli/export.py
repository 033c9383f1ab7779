"""`softmoe-bench export`: runs as tidy rows, and in the forms of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import store_option, writable, writing
from bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import RunResults

TABLES = ("csv", "json", "parquet")
OTHERS = ("pytest-benchmark", "github-action-benchmark", "bencher")
"""Forms of other programs, each of one run (see `bench.exchange`); they have no ending of their own."""


@click.command()
@click.argument("runs", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option("--format", "form", type=click.Choice((*TABLES, *OTHERS)), help="Default: the ending of the file.")
@click.option("--summary", is_flag=True, help="One row per case and metric with its interval, not one per sample.")
@store_option
def export(
    runs: tuple[str, ...],
    output: Path,
    form: str | None,
    summary: bool,  # noqa: FBT001  (click passes flags by name)
    store: str | None,
) -> None:
    """Export RUNS (default: the latest) as one table: a row per sample, a column per axis.

    The forms of other programs hold one run: pytest-benchmark reads it with `pytest-benchmark compare`,
    github-action-benchmark as its tool customSmallerIsBetter, Bencher with `--adapter json`.
    """
    chosen = form or output.suffix.removeprefix(".").lower()
    if chosen not in (TABLES if form is None else (*TABLES, *OTHERS)):
        raise InputError(f"export {output}: the ending says no format; use --format {' | '.join((*TABLES, *OTHERS))}")
    if chosen in OTHERS and len(runs) > 1:
        raise InputError(f"export --format {chosen}: such a file holds one run, got {len(runs)}; write a file for each")
    if chosen in OTHERS and summary:
        raise InputError(f"export --format {chosen}: --summary is for the tables ({', '.join(TABLES)})")
    writable(output, "export")
    from bench import results  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    opened = open_store(store)
    found = [results.load(opened, opened.find(word)) for word in runs or ("latest",)]
    with writing(output, "export"):
        if chosen in OTHERS:
            _write_one(found[0], chosen, output)
        else:
            _write_table(found, chosen, output, summary=summary)


def _write_table(found: Sequence[RunResults], chosen: str, output: Path, *, summary: bool) -> None:
    """Writes runs as one table."""
    from bench import table  # noqa: PLC0415

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


def _write_one(found: RunResults, chosen: str, output: Path) -> None:
    """Writes a run in the form of another program, and says what that program will not see."""
    from bench import exchange  # noqa: PLC0415

    write = exchange.TABLE[chosen].write
    text = "" if write is None else write(found)
    output.write_text(text, encoding="utf-8")
    timed = sum("latency" in result.figures for result in found.cases)
    click.echo(f"{output}: run {found.run.name}, {timed} of {len(found.cases)} cases")
    if missing := len(found.cases) - timed:
        click.echo(f"{missing} without a latency, which {chosen} cannot show: see `show {found.run.name}`", err=True)

"""`softmoe-bench report`: a report that can be sent to somebody, and a page over all runs of a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import files
from bench.cli.options import store_option, writable, writing
from bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.history import History
    from bench.records import Run
    from bench.results import RunResults
    from bench.store import Store

FORMATS = {"html": "report.html", "markdown": "report.md"}
"""Format -> the file that it goes to unless said otherwise."""

ENDINGS = {".html": "html", ".htm": "html", ".md": "markdown", ".markdown": "markdown"}
INDEX = "index.html"


@click.command()
@click.argument("runs", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help=f"File to write (default {' or '.join(FORMATS.values())}; with --index a file or a folder, {INDEX}).",
)
@click.option("--format", "form", type=click.Choice(list(FORMATS)), help="Default: the ending of the file, or html.")
@click.option(
    "--assets",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write every chart as SVG and PNG and the data as CSV too.",
)
@click.option("--index", is_flag=True, help="Write a page over all runs (or RUNS) with the report of each beside it.")
@store_option
def report(
    runs: tuple[str, ...],
    output: Path | None,
    form: str | None,
    assets: Path | None,
    index: bool,  # noqa: FBT001  (click passes flags by name)
    store: str | None,
) -> None:
    """Write a report of RUNS (default: the latest); of several runs, side by side.

    Charts under --assets are named by section and chart; a report in Markdown links to them. Files of the same names
    are replaced, others in the folder stay. With --index, reports of unchanged runs stay as they are.
    """
    from bench.store import open_store  # noqa: PLC0415

    if index:
        if form == "markdown" or assets is not None:
            raise InputError("report --index writes HTML pages: leave out --format markdown and --assets")
        path = _index_path(output)
        opened = open_store(store)
        _write_index(opened, _chosen(opened, runs) if runs else opened.runs(), path)
        return
    chosen = choose(output, form)
    path = output or Path(FORMATS[chosen])
    writable(path, "report")
    if assets is not None:
        _folder_for(assets, "assets")
    opened = open_store(store)
    from bench import results  # noqa: PLC0415

    found = [results.load(opened, run) for run in _chosen(opened, runs or ("latest",))]
    with writing(path, "report"):
        charts = write_report(found, path, chosen, assets)
    click.echo(str(path))
    if assets is not None:
        click.echo(f"{assets}: {charts} {'chart' if charts == 1 else 'charts'} as SVG and PNG, rows.csv, summary.csv")


def choose(output: Path | None, form: str | None = None) -> str:
    """Returns the format of a report: as asked for, by the ending of its file, or HTML where there is no file.

    Raises:
        InputError: the ending says another format, or none and no format is given.
    """
    if output is not None and output.is_dir():
        return form or "html"  # that it is a folder is said by what writes there
    ending = "" if output is None else output.suffix.lower()
    said = ENDINGS.get(ending)
    if form is None:
        if output is not None and said is None:
            raise InputError(f"report {output}: the ending says no format; use --format {' | '.join(FORMATS)}")
        return said or "html"
    if said not in (None, form):
        raise InputError(f"report {output}: the ending says {said}, --format says {form}: give one")
    return form


def check_report(path: Path) -> None:
    """Refuses a report at the end of a command before anything is measured.

    Raises:
        InputError: the ending of its file says no format, or the file cannot be written.
    """
    choose(path)
    writable(path, "report")


def write_at_end(runs: Sequence[RunResults], path: Path, *, past: History | None = None) -> None:
    """Writes the report of a command that does more than that, in the format of its file, and says where it is."""
    with writing(path, "report"):
        write_report(runs, path, choose(path), past=past)
    click.echo(f"report: {path}", err=True)


def write_report(
    runs: Sequence[RunResults], path: Path, form: str, assets: Path | None = None, *, past: History | None = None
) -> int:
    """Writes a report in a format and its charts into a folder; returns how many charts are there.

    With `past`, a history of more runs than these stands after the summary.
    """
    from bench.report import assets as charting  # noqa: PLC0415
    from bench.report import markdown, page  # noqa: PLC0415

    text = page.render(runs, past=past)
    pictures = []
    if assets is not None:
        assets.mkdir(exist_ok=True)
        pictures = charting.write(text, runs, assets)
    if form == "markdown":
        where = "" if assets is None else Path(os.path.relpath(assets, path.absolute().parent)).as_posix()
        text = markdown.render(text, runs, pictures, where)
    files.write(path, text)
    return len(pictures)


def _folder_for(path: Path, what: str) -> Path:
    """Returns a folder that is there or can be made."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{what} {path} is a file: give the path of a folder")
    writable(path / "x" if path.is_dir() else path, what)
    return path


def _chosen(store: Store, words: Sequence[str]) -> list[Run]:
    """Returns the runs that words name, each once."""
    return list({run.id: run for run in map(store.find, words)}.values())


def _index_path(output: Path | None) -> Path:
    """Returns where the index goes; what stands in a folder under its name is replaced only if it is ours.

    Raises:
        InputError: it cannot be written, or is somebody else's.
    """
    from bench.report import index  # noqa: PLC0415

    given = output or Path(INDEX)
    if given.suffix.lower() in ENDINGS and not given.is_dir():
        choose(given, "html")
        writable(given, "index")
        path = given
    else:
        path = _folder_for(given, "index") / INDEX
    if (output is None or path != given) and path.is_file() and not index.ours(path):
        raise InputError(f"index {path} is there and not ours: name another file with -o, or this one")
    if path.parent.is_dir():
        _folder_for(path.with_name(index.reports(path)), "reports")
    return path


def _write_index(store: Store, runs: Sequence[Run], path: Path) -> None:
    """Writes the index over runs, oldest first as they are in the store, and says what was made."""
    from bench import results  # noqa: PLC0415
    from bench.report import index  # noqa: PLC0415

    path.parent.mkdir(exist_ok=True)
    path.with_name(index.reports(path)).mkdir(exist_ok=True)
    baselines = {baseline.name: baseline.run.id for baseline in store.baselines()}
    loaded: Iterator[RunResults] = (results.load(store, run) for run in reversed(runs))
    with writing(path, "index"):
        made = [stale for _, stale in index.write(loaded, path, baselines)]
    click.echo(str(path))
    click.echo(f"{len(made)} runs, {sum(made)} reports written, {len(made) - sum(made)} unchanged", err=True)

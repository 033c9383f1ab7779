"""`softmoe-bench import`: runs from files of our own and of pytest-benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import store_option
from bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.exchange.keeping import Kept
    from bench.exchange.reading import Fields
    from bench.exchange.record import Recorded
    from bench.store import Store

SHOWN = 3
"""Tests without a case that are named."""


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", help="Name of the run, or of the baseline (default: the file's own).")
@click.option("--replace", "replacing", is_flag=True, help="Replace what the store has under the same id or name.")
@store_option
def import_files(files: tuple[Path, ...], name: str | None, replacing: bool, store: str | None) -> None:  # noqa: FBT001
    """Import FILES: baselines, runs exported to pytest-benchmark's JSON, and sessions of pytest-benchmark.

    Sessions (`pytest --benchmark-json FILE` over tests with the softmoe fixture) that are given together become one
    run, each session a process of it: only several processes allow a verdict.
    """
    from bench import exchange  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    whole: list[Recorded] = []
    sessions: list[Fields] = []
    for path in files:
        fields = exchange.load(path)
        form = exchange.recognise(fields)
        if form is None or form.read is None:
            sessions.append(fields)
        else:
            whole.append(read_one(form.read, fields, name))
    runs = len(whole) + bool(sessions)
    if name is not None and runs > 1:
        raise InputError(
            f"import --name {name}: the files hold {runs} runs, and a name is for one; import them one by one"
        )
    measured = _read_sessions(sessions, name) if sessions else None
    opened = open_store(store, create=True)
    for recorded in whole:
        keep_one(opened, recorded, name=name, replacing=replacing)
    if measured is not None:
        keep_one(opened, measured, name=name, replacing=replacing)


def read_one(read: Callable[[Fields], Recorded], fields: Fields, name: str | None) -> Recorded:
    """Returns what a file tells, before any store is touched."""
    from bench.exchange import keeping  # noqa: PLC0415

    recorded = read(fields)
    if recorded.baseline is not None:
        keeping.baseline_name(recorded, name)
    return recorded


def keep_one(opened: Store, recorded: Recorded, *, name: str | None, replacing: bool) -> None:
    """Keeps what one file told and says so."""
    from bench.exchange import keeping  # noqa: PLC0415

    of_baseline = recorded.baseline is not None
    keep = keeping.keep_baseline if of_baseline else keeping.keep
    kept = keep(opened, recorded, name=name, replacing=replacing)
    title = f"baseline {name or recorded.baseline}: " if of_baseline else ""
    click.echo(f"{title}{_tell(kept, len(recorded.plan))}")


def _tell(kept: Kept, cases: int) -> str:
    """Returns what became of a run, and how it is called from now on."""
    run = f"run {kept.run.name} ({kept.run.id}), {cases} {'case' if cases == 1 else 'cases'}"
    return run if kept.fresh else f"{run}: already there"


def _read_sessions(sessions: Sequence[Fields], name: str | None) -> Recorded:
    """Returns the run of several sessions, and names the tests in them that are none of ours."""
    from bench.exchange import pytest_sessions  # noqa: PLC0415

    recorded, strangers = pytest_sessions.read(sessions, name or "pytest")
    if strangers:
        named = ", ".join(strangers[:SHOWN]) + (", ..." if len(strangers) > SHOWN else "")
        click.echo(f"left out, as they measured no case of ours: {named}", err=True)
    return recorded

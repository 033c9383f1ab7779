"""Options that several commands share, spelled once."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

report_option = click.option(
    "--report",
    "report_to",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write a report at the end: .html or .md.",
)
store_option = click.option(
    "--store",
    envvar="SOFTMOE_BENCH_STORE",
    metavar="FILE|URL",
    help="Results store: a SQLite file or a SQLAlchemy URL (default softmoe-bench.db, or $SOFTMOE_BENCH_STORE).",
)
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="AXIS=VALUE[,VALUE]",
    help="Override an axis; may be repeated, and more AXIS=VALUE words may follow.",
)
more_settings = click.argument("more", nargs=-1, metavar="[AXIS=VALUE]...")
layer_option = click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="[LIKE=]pkg.mod:FACTORY",
    help="Measure a layer of your own beside LIKE (default soft), over the axes of LIKE.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON on stdout.")


def writable(path: Path, what: str) -> Path:
    """Returns a path once it is clear that a file can be written there, so that nobody measures for nothing.

    Raises:
        InputError: a folder stands there, or its folder does not exist or cannot be written.
    """
    folder = path.absolute().parent
    if path.is_dir():
        raise InputError(f"{what} {path} is a folder: give the path of a file")
    if not folder.is_dir():
        raise InputError(f"{what} {path}: the folder {folder} does not exist")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InputError(f"{what} {path} cannot be written: no permission")
    return path


@contextmanager
def writing(path: Path, what: str) -> Iterator[None]:
    """Says why a file could not be written after all: the disk is full, or no file can be made there.

    Raises:
        InputError: instead of the error of the system.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{what} {path} cannot be written: {error.strerror or error}") from error

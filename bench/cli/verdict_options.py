"""What `compare` and `duel` say alike: in which format, where to, what fails them; and how it is delivered."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import files, gates
from bench.cli.options import json_option, writable, writing
from bench.errors import Exit, InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.formats import Context
    from bench.verdicts import Comparisons

TERMINAL = "table"
FORMATS = (TERMINAL, "markdown", "json", "junit", "github")
"""The table of the terminal and what `bench.formats.TABLE` has."""


@dataclass(frozen=True)
class Delivery:
    """How an answer is asked for: its format, the file that it goes to, further files by format, and its gate."""

    form: str = TERMINAL
    output: Path | None = None
    also: tuple[tuple[str, Path], ...] = ()
    fail_on: frozenset[str] = gates.DEFAULT
    quiet: bool = False
    report: str | None = None


def verdict_options(command: Callable[..., int]) -> Callable[..., int]:
    """Adds the options to a command; it gets them as one `delivery`, checked before anything is measured."""

    @wraps(command)
    def checked(
        *,
        form: str | None,
        as_json: bool,
        output: Path | None,
        also: tuple[str, ...],
        fail_on: str | None,
        quiet: bool,
        report_link: str | None,
        **others: Any,  # noqa: ANN401  (the command's own options)
    ) -> int:
        if as_json and form not in (None, "json"):
            raise InputError(f"--json and --format {form} ask for two formats: give one")
        delivery = Delivery(
            form="json" if as_json else form or TERMINAL,
            output=None if output is None else writable(output, "output"),
            also=tuple(map(parse_also, also)),
            fail_on=gates.DEFAULT if fail_on is None else gates.parse_fail_on(fail_on),
            quiet=quiet,
            report=report_link,
        )
        files = [path.absolute() for path in (delivery.output, *(path for _, path in delivery.also)) if path]
        twice = next((path for path in files if files.count(path) > 1), None)
        if twice is not None:
            raise InputError(f"two answers would go to {twice}: give each its own file")
        return command(delivery=delivery, **others)

    for option in reversed(OPTIONS):
        checked = option(checked)
    return checked


OPTIONS = (
    click.option("--format", "form", type=click.Choice(FORMATS), help=f"Format of the answer (default {TERMINAL})."),
    json_option,
    click.option("-o", "--output", type=click.Path(path_type=Path), help="File for the answer instead of stdout."),
    click.option(
        "--also",
        multiple=True,
        metavar="FORMAT=FILE",
        help="Write the answer in another format too, as in markdown=comment.md; may be repeated.",
    ),
    click.option(
        "--fail-on",
        metavar="WORD[,WORD]",
        help=f"What makes the exit code other than 0: {', '.join(gates.FAIL_ON)}; or none"
        f" (default {', '.join(word for word in gates.FAIL_ON if word in gates.DEFAULT)}).",
    ),
    click.option("--quiet-if-unchanged", "quiet", is_flag=True, help="Say nothing where nothing changed."),
    click.option("--report-link", metavar="URL", help="Address of the report, named in the answer."),
)


def parse_also(words: str) -> tuple[str, Path]:
    """Returns format and file of `--also`.

    Raises:
        InputError: not of that form, an unknown format, or a file that cannot be written.
    """
    form, equals, path = words.partition("=")
    if not equals or not path:
        raise InputError(f"--also {words}: write FORMAT=FILE as in markdown=comment.md")
    if form not in FORMATS:
        raise InputError(f"--also {words}: {unknown('format', form, FORMATS)}")
    return form, writable(Path(path), "output")


def deliver(found: Comparisons, delivery: Delivery, *, command: str = "", report: Path | None = None) -> Exit:
    """Writes the answer where it is asked for and returns the exit code.

    `command` makes the comparison again; `report` is where it lies, named unless an address was given.

    Where nothing is to be said, a file that was asked for is empty, so that nobody reads an older one.
    """
    from bench.cli import terminal  # noqa: PLC0415
    from bench.formats import Context  # noqa: PLC0415

    link = delivery.report or (None if report is None else str(report))
    context = Context(fail_on=delivery.fail_on, report=link, command=command, quiet=delivery.quiet)
    if delivery.output is not None:
        _write(delivery.output, _text(delivery.form, found, context))
    elif delivery.form == TERMINAL:
        terminal.show_comparison(found, context)
    else:
        click.echo(_text(delivery.form, found, context), nl=False)
    for form, path in delivery.also:
        _write(path, _text(form, found, context))
    if delivery.form == "github":
        _summarise(found, context)
    code = gates.exit_code(found, delivery.fail_on)
    if code:
        click.echo(f"fails: {gates.say(found, delivery.fail_on)}", err=True)
    return code


def _text(form: str, found: Comparisons, context: Context) -> str:
    """Returns the answer in a format."""
    from bench import formats  # noqa: PLC0415
    from bench.cli import terminal  # noqa: PLC0415

    return terminal.comparison(found, context) if form == TERMINAL else formats.TABLE[form](found, context)


def _write(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    with writing(path, "output"):
        files.write(path, text)


def _summarise(found: Comparisons, context: Context) -> None:
    """Adds the comment to the summary of a GitHub job where there is one; the verdict does not depend on it."""
    from bench.formats import github  # noqa: PLC0415

    where = os.environ.get(github.SUMMARY)
    if where:
        try:
            github.summarise(found, context, Path(where))
        except OSError as error:
            click.echo(f"no summary of the job: {error}", err=True)

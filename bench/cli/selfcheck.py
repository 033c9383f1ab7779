"""`softmoe-bench selfcheck`: how small a change can be seen on this machine, and how often one is seen that is none."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from bench.cli.options import json_option, layer_option, more_settings, set_option, store_option
from bench.cli.run import start
from bench.errors import Exit, InputError

if TYPE_CHECKING:
    from bench.executors import Executor
    from bench.plan import Plan
    from bench.records import Run, Settings
    from bench.selfcheck import SelfCheck
    from bench.store import Store

PROCESSES = 20
"""How many processes time each case unless told otherwise: two trials with 5 a side, six with 3."""


@click.command()
@click.option("--grid", metavar="NAME|FILE", help="Bundled grid (see `list grids`) or a TOML file.")
@set_option
@more_settings
@layer_option
@store_option
@click.option("--name", help="Name of the run, after selfcheck- (default: the grid's name and a number).")
@click.option("--processes", type=click.IntRange(1), help=f"Fresh processes that time each case (default {PROCESSES}).")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="Time that one side of a comparison may take per case; decides its processes (default: 5 processes).",
)
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), help="Sampling time per process, as in `run`.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="End a process after (s; default 300).")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 10),
    default=0.05,
    show_default=True,
    help="Smallest relative change worth a verdict, as in `compare`.",
)
@click.option("--from", "source", metavar="RUN", help="Measure nothing: analyse a stored run of enough processes.")
@json_option
def selfcheck(  # noqa: PLR0913, PLR0917  (one argument per option)
    grid: str | None,
    settings: tuple[str, ...],
    more: tuple[str, ...],
    layers: tuple[str, ...],
    store: str | None,
    name: str | None,
    processes: int | None,
    seconds: float | None,
    max_seconds: float | None,
    timeout: float | None,
    threshold: float,
    source: str | None,
    as_json: bool,  # noqa: FBT001  (click passes flags by name)
) -> int:
    """Compare cases with themselves: false alarms, and the smallest change seen here in a given time.

    Every case is timed by many fresh processes; neighbouring groups of them are compared by the rule of `compare`.
    Further AXIS=VALUE words after the options count as --set. The run is kept and can be shown like any other.
    """
    if source is not None:
        if any((grid, settings, more, layers, name, processes, max_seconds, timeout)):
            raise InputError("--from analyses what a run has: only --seconds, --threshold, --store, --json go with it")
        return _analyse(source, store, threshold, seconds, as_json=as_json)
    if grid is None:
        raise InputError("say what to measure: --grid NAME|FILE (see `softmoe-bench list grids`), or --from RUN")
    from bench import executors, selfcheck  # noqa: PLC0415

    repeats = PROCESSES if processes is None else processes
    if repeats < 2 * selfcheck.LEAST:
        raise InputError(
            f"--processes {repeats}: give at least {2 * selfcheck.LEAST}, for two sides of {selfcheck.LEAST}"
        )
    options = {"repeats": repeats, "max_seconds": max_seconds, "timeout": timeout}
    given = {key: value for key, value in options.items() if value is not None}
    called = None if name is None else selfcheck.PREFIX + name.removeprefix(selfcheck.PREFIX)
    with executors.make("isolated") as working:
        opened, run, plan, asked = start(
            (grid, [*settings, *more], layers), store, called, given, working, prefix=selfcheck.PREFIX
        )
        try:
            return _measure(opened, run, plan, asked, working, (threshold, seconds), as_json=as_json)
        finally:
            opened.close()


def _analyse(word: str, where: str | None, threshold: float, seconds: float | None, *, as_json: bool) -> int:
    """Prints what a stored run says and returns the exit code."""
    from bench import results, selfcheck  # noqa: PLC0415
    from bench.records import FAILED  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    store = open_store(where)
    found = results.load(store, store.find(word))
    has = selfcheck.most_processes(found)
    if has < 2 * selfcheck.LEAST:
        raise InputError(
            f"run {found.run.name} has at most {has} timed processes of a case: selfcheck needs {2 * selfcheck.LEAST};"
            f" measure them with `softmoe-bench selfcheck --grid ...`"
        )
    _show(selfcheck.analyse(found, threshold=threshold, seconds=seconds), as_json=as_json)
    return Exit.INCOMPLETE if any(found.count(status) for status in FAILED) else Exit.OK


def _measure(
    store: Store,
    run: Run,
    plan: Plan,
    settings: Settings,
    executor: Executor,
    rule: tuple[float, float | None],
    *,
    as_json: bool,
) -> int:
    """Measures, prints what was found and returns the exit code; `rule` is threshold and seconds."""
    from bench import results, selfcheck  # noqa: PLC0415
    from bench.cli.progress import progress_for  # noqa: PLC0415
    from bench.run import execute  # noqa: PLC0415
    from bench.schema import DEFAULT  # noqa: PLC0415

    with progress_for(sys.stderr, run.name, settings) as progress:
        summary = execute(plan, executor, store, run, settings, progress)
    found = results.load(store, store.find(run.id))
    _show(selfcheck.analyse(found, threshold=rule[0], seconds=rule[1]), as_json=as_json)
    if summary.interrupted:
        where = "" if store.shown_as == DEFAULT else f" --store {shlex.quote(store.shown_as)}"
        again = f"softmoe-bench run --resume {run.name}{where} && softmoe-bench selfcheck --from {run.name}{where}"
        click.echo(f"interrupted; everything measured is kept, go on with: {again}", err=True)
        return Exit.INTERRUPTED
    return Exit.INCOMPLETE if summary.failed else Exit.OK


def _show(found: SelfCheck, *, as_json: bool) -> None:
    """Prints what a run against itself says."""
    from bench.cli import answer, terminal  # noqa: PLC0415

    if as_json:
        answer.write(answer.of_selfcheck(found))
    else:
        terminal.show_selfcheck(found)

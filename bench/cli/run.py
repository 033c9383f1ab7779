"""`softmoe-bench run`: measure a grid on this machine."""

from __future__ import annotations

import shlex
import sys
import time
from typing import TYPE_CHECKING

import click

from bench import units
from bench.cli.options import json_option, layer_option, more_settings, report_option, set_option, store_option
from bench.cli.report import check_report, write_at_end
from bench.errors import Exit, InputError, StoreError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.executors import Executor
    from bench.plan import Plan
    from bench.records import Run, Settings
    from bench.run import Summary
    from bench.store import Store


@click.command()
@click.option("--grid", metavar="NAME|FILE", help="Bundled grid (see `list grids`) or a TOML file.")
@set_option
@more_settings
@layer_option
@store_option
@click.option("--name", help="Name of the run (default: the grid's name and a number).")
@click.option("--repeats", type=click.IntRange(1), help="Fresh processes that time each case (default 5).")
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), help="Sampling time per process (default 1).")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="End a process after (s; default 300).")
@click.option("--executor", default="isolated", help="isolated | inline (for debuggers).")
@click.option("--resume", metavar="RUN", help="Go on with a run: measure only what it lacks.")
@click.option("--retry-failed", is_flag=True, help="With --resume: also measure again what failed.")
@report_option
@json_option
def run(  # noqa: PLR0913, PLR0917  (one argument per option)
    grid: str | None,
    settings: tuple[str, ...],
    more: tuple[str, ...],
    layers: tuple[str, ...],
    store: str | None,
    name: str | None,
    repeats: int | None,
    max_seconds: float | None,
    timeout: float | None,
    executor: str,
    resume: str | None,
    retry_failed: bool,  # noqa: FBT001  (click passes flags by name)
    report_to: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Measure a grid; every finished case is kept at once.

    Further AXIS=VALUE words after the options count as --set.
    """
    from bench import executors  # noqa: PLC0415

    began = time.monotonic()
    if report_to is not None:
        check_report(report_to)
    if retry_failed and resume is None:
        raise InputError("--retry-failed measures again what failed in a run: name it with --resume RUN")
    options = {"repeats": repeats, "max_seconds": max_seconds, "timeout": timeout}
    given = {key: value for key, value in options.items() if value is not None}
    with executors.make(executor) as working:
        if resume is not None:
            if grid or settings or more or layers or name:
                raise InputError("--resume goes on with what the run asked: leave out --grid, --set, --layer, --name")
            if repeats or max_seconds:
                raise InputError("--resume measures as the run began: leave out --repeats and --max-seconds")
            opened, kept, plan, asked = _resume(resume, store, working, given)
        elif grid is not None:
            opened, kept, plan, asked = start((grid, [*settings, *more], layers), store, name, given, working)
        else:
            raise InputError("say what to measure: --grid NAME|FILE (see `softmoe-bench list grids`), or --resume RUN")
        try:
            summary = measure(opened, kept, plan, asked, working, retry_failed=retry_failed)
            _say_overhead(summary, time.monotonic() - began)
            return _answer(opened, kept, summary, report_to=report_to, as_json=as_json)
        finally:
            opened.close()


def start(
    words: tuple[str, list[str], tuple[str, ...]],
    where: str | None,
    name: str | None,
    given: Mapping[str, float],
    executor: Executor,
    *,
    prefix: str = "",
) -> tuple[Store, Run, Plan, Settings]:
    """Returns a new run, kept in the store once everything asked for is known to make sense.

    `name` and `prefix` are those of `bench.run.new_run`.
    """
    from bench.cli.asking import understand  # noqa: PLC0415
    from bench.records import Settings  # noqa: PLC0415
    from bench.run import new_run  # noqa: PLC0415
    from bench.schema import check  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    asked = understand(*words)
    check(where)
    settings = Settings(**{**asked.grid.run, **given}, thresholds=asked.grid.thresholds)  # type: ignore[arg-type]
    probe = executor.probe(asked.targets)
    if probe.problems:
        raise InputError("; ".join(probe.problems))
    plan = asked.plan(probe.devices)
    for remark in plan.remarks:
        click.echo(f"note: {remark}", err=True)
    store = open_store(where, create=True)
    command = shlex.join(["softmoe-bench", *sys.argv[1:]])
    run = new_run(store, plan, probe, settings, name=name, prefix=prefix, command=command)
    return store, run, plan, settings


def _resume(
    word: str, where: str | None, executor: Executor, given: Mapping[str, float]
) -> tuple[Store, Run, Plan, Settings]:
    """Returns a stored run with the plan it began with, and its settings but for those given now (a timeout)."""
    from bench import grid  # noqa: PLC0415
    from bench.claims import asking as claims  # noqa: PLC0415
    from bench.plan import Plan  # noqa: PLC0415
    from bench.records import Settings  # noqa: PLC0415
    from bench.run import check_same_machine  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    store = open_store(where)
    run = store.find(word)
    if "duel" in run.settings:
        raise InputError(f"--resume {word}: run {run.name} is a duel, which is measured in one go: start a new one")
    untimed = frozenset(run.settings.get(claims.KEY, {}).get("untimed", ()))
    plan = Plan(grid.Grid(run.name, run.description, run.grid), tuple(store.plan(run.id)), untimed=untimed)
    probe = executor.probe([layer.target for layer in plan.layers])
    if probe.problems:
        raise InputError("; ".join(probe.problems))
    check_same_machine(run, probe)
    told = {name: value for name, value in run.settings.items() if name in Settings.__dataclass_fields__}
    return store, run, plan, Settings(**{**told, **given})


def measure(
    store: Store, run: Run, plan: Plan, settings: Settings, executor: Executor, *, retry_failed: bool = False
) -> Summary:
    """Measures and returns how it went.

    Raises:
        StoreError, WorkerError: it cannot go on; the text says how to, later.
    """
    from bench.cli.progress import progress_for  # noqa: PLC0415
    from bench.run import execute  # noqa: PLC0415

    try:
        with progress_for(sys.stderr, run.name, settings) as progress:
            return execute(plan, executor, store, run, settings, progress, retry_failed=retry_failed)
    except (StoreError, WorkerError) as error:
        raise type(error)(f"{error}; everything measured is kept, go on with: {_again(store, run)}") from error


def _say_overhead(summary: Summary, seconds: float) -> None:
    """Says which part of a command's time went elsewhere than into measuring."""
    if summary.measured:
        outside = units.format_duration(seconds - summary.in_workers)
        click.echo(f"harness: {outside} of {units.format_duration(seconds)} outside of workers", err=True)


def _answer(store: Store, run: Run, summary: Summary, *, report_to: Path | None, as_json: bool) -> int:
    """Prints what was found and returns the exit code."""
    from bench import results  # noqa: PLC0415
    from bench.cli import answer, run_table  # noqa: PLC0415

    found = results.load(store, store.find(run.id))
    if as_json:
        answer.write(answer.of_run(found))
    else:
        run_table.show(found)
    if summary.interrupted:
        say_again(store, run)
        return Exit.INTERRUPTED
    if report_to is not None:
        write_at_end([found], report_to)
    return Exit.INCOMPLETE if summary.failed else Exit.OK


def say_again(store: Store, run: Run) -> None:
    """Says how to go on with a run that was interrupted."""
    click.echo(f"interrupted; everything measured is kept, go on with: {_again(store, run)}", err=True)


def _again(store: Store, run: Run) -> str:
    """Returns the command that goes on with a run."""
    from bench.schema import DEFAULT  # noqa: PLC0415

    where = "" if store.shown_as == DEFAULT else f" --store {shlex.quote(store.shown_as)}"
    return f"softmoe-bench run --resume {run.name}{where}"

"""`softmoe-bench duel`: two sides measured in turn, for pull requests."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import layer_option, more_settings, report_option, set_option, store_option
from bench.cli.report import check_report, write_at_end
from bench.cli.thresholds import parse_thresholds, threshold_option
from bench.cli.verdict_options import Delivery, deliver, verdict_options
from bench.errors import Exit, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.cli.asking import Asked
    from bench.duel import Corner
    from bench.executors import Probe
    from bench.executors.isolated import IsolatedExecutor
    from bench.pairing import Matched, Pair
    from bench.plan import Plan
    from bench.records import Run, Settings
    from bench.sources import Place, Source
    from bench.store import Store

MAX_SECONDS = 3.0
LEAST_PAIRS, MOST_PAIRS = 3, 99


@dataclass(frozen=True)
class Wish:
    """What a duel is told on the command line."""

    sources: tuple[Source, Source]
    grid: str
    asked: Asked
    pair: Pair | None
    thresholds: Mapping[str, float]
    looks: tuple[int, ...]
    max_seconds: float
    timeout: float | None
    name: str | None
    here: Path

    @property
    def names(self) -> tuple[str, str]:
        """How people recognise the sides."""
        from bench.axes import show_value  # noqa: PLC0415

        base, candidate = (source.name for source in self.sources)
        if self.pair is None:
            return base, candidate
        values = [f"{self.pair.axis}={show_value(value)}" for value in (self.pair.base, self.pair.candidate)]
        return (values[0], values[1]) if base == candidate else (f"{base} {values[0]}", f"{candidate} {values[1]}")


@click.command()
@click.option("--base", metavar="SIDE", help="What to compare with (default: the other side, where --pair is given).")
@click.option("--cand", metavar="SIDE", help="What is compared (default: the current folder; with --pair: installed).")
@click.option("--grid", required=True, metavar="NAME|FILE", help="Bundled grid (see `list grids`) or a TOML file.")
@click.option("--pair", metavar="AXIS=BASE,CANDIDATE", help="Let the sides differ in one axis: backend=einsum,fused.")
@set_option
@more_settings
@layer_option
@threshold_option
@click.option(
    "--pairs",
    type=click.IntRange(LEAST_PAIRS, MOST_PAIRS),
    default=15,
    show_default=True,
    help="Most pairs of fresh processes a case; it is looked at after 3, 5, 9, 15 and these, and over when decided.",
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    default=MAX_SECONDS,
    show_default=True,
    help="Time for the rounds of one case in one pair: 40, or more until they are precise; at least 8.",
)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), help="End a silent process after (s; default 300).")
@store_option
@click.option("--name", help="Name of the run that is kept (default: duel-, the grid's name and a number).")
@report_option
@verdict_options
def duel(  # noqa: PLR0913  (one argument per option)
    *,
    base: str | None,
    cand: str | None,
    grid: str,
    pair: str | None,
    settings: tuple[str, ...],
    more: tuple[str, ...],
    layers: tuple[str, ...],
    thresholds: tuple[str, ...],
    pairs: int,
    max_seconds: float,
    timeout: float | None,
    store: str | None,
    name: str | None,
    report_to: Path | None,
    delivery: Delivery,
) -> int:
    """Measure two sides in turn, block by block, and say what differs.

    A SIDE is a git revision, a folder (its own code, or that below src/, is used), venv:PATH for another environment,
    or `installed`. Fresh pairs of processes are the replicates. Exit codes as in `compare`.
    """
    from bench import looks, pairing, sources  # noqa: PLC0415
    from bench.cli.asking import understand  # noqa: PLC0415
    from bench.schema import check  # noqa: PLC0415

    if report_to is not None:
        check_report(report_to)
    here = Path.cwd()
    wanted = None if pair is None else pairing.parse_pair(pair)
    if base is None and wanted is None:
        raise InputError("say what to compare with: --base SIDE, or --pair AXIS=BASE,CANDIDATE for two of one kind")
    cand = cand or (sources.INSTALLED if base is None else ".")
    base = base or cand
    wish = Wish(
        sources=(sources.parse(base, "--base", here), sources.parse(cand, "--cand", here)),
        grid=grid,
        asked=understand(grid, [*settings, *more], layers),
        pair=wanted,
        thresholds=parse_thresholds(thresholds),
        looks=looks.schedule(pairs),
        max_seconds=max_seconds,
        timeout=timeout,
        name=name,
        here=here,
    )
    check(store)
    return _duel(wish, store, report_to, delivery)


def _duel(wish: Wish, where: str | None, report_to: Path | None, delivery: Delivery) -> int:
    """Lays both sides out, measures and answers."""
    from bench import duel as duelling  # noqa: PLC0415
    from bench import duels, results, sources  # noqa: PLC0415
    from bench.cli.progress import progress_for  # noqa: PLC0415
    from bench.executors.isolated import IsolatedExecutor  # noqa: PLC0415
    from bench.executors.scratch import Scratch  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415
    from bench.worker import entry  # noqa: PLC0415

    scratch = Scratch()
    with ExitStack() as stack:
        stack.callback(scratch.remove)
        places = [
            stack.enter_context(sources.laid_out(source, scratch.path / f"{word}-tree", wish.here))
            for source, word in zip(wish.sources, ("base", "candidate"), strict=True)
        ]
        corners = tuple(_corner(name, place) for name, place in zip(wish.names, places, strict=True))
        scales = [stack.enter_context(IsolatedExecutor(corner.interpreter, entry.weigh)) for corner in corners]
        settings, plan, matched, probe = _plan(wish, places, corners, scales)
        store = open_store(where, create=True)
        stack.callback(store.close)
        run = _start(wish, store, settings, plan, matched, probe)
        contest = duelling.Duel(
            tuple((b, c) for b, c in matched if b is not None and c is not None),
            (corners[0], corners[1]),
            wish.looks,
            run.settings["duel"]["threshold"],
            wish.max_seconds,
        )
        with progress_for(sys.stderr, run.name, replace(settings, repeats=wish.looks[-1])) as progress:
            interrupted = duelling.fight(contest, scales, store, run, settings, progress, scratch.path)
        found = results.load(store, store.find(run.id))
    if report_to is not None and not interrupted:
        write_at_end([found], report_to)
    code = deliver(
        duels.of_results(found), delivery, command=shlex.join(["softmoe-bench", *sys.argv[1:]]), report=report_to
    )
    if interrupted:
        click.echo(f"interrupted; what was measured is kept as {run.name}", err=True)
        return Exit.INTERRUPTED
    return code


def _corner(name: str, place: Place) -> Corner:
    """Returns a side with where its workers run."""
    from bench.duel import Corner  # noqa: PLC0415
    from bench.executors.fork_server import Interpreter  # noqa: PLC0415

    folder = None if place.top is None else str(place.top)
    return Corner(name, Interpreter(place.python, folder, place.first))


def _plan(
    wish: Wish, places: list[Place], corners: tuple[Corner, ...], scales: list[IsolatedExecutor]
) -> tuple[Settings, Plan, list[Matched], Probe]:
    """Returns what will be measured: the cases of the grid as each side has it.

    Raises:
        InputError: nothing is left to measure, or a side's layers lie elsewhere.
    """
    from bench import pairing  # noqa: PLC0415
    from bench.records import Settings  # noqa: PLC0415

    settings = Settings(repeats=wish.looks[-1], thresholds={**wish.asked.grid.thresholds, **wish.thresholds})
    if wish.timeout is not None:
        settings = replace(settings, timeout=wish.timeout)
    for corner, place, executor in zip(corners, places, scales, strict=True):
        probe = executor.probe([])
        _check_files(corner, place, {} if place.top is None else executor.locate(wish.asked.targets))
    plan = wish.asked.plan(probe.devices)
    for remark in plan.remarks:
        click.echo(f"note: {remark}", err=True)
    theirs = _theirs(wish, places[0], probe.devices) or plan
    ours = {case.id for case in plan.runnable} | {case.id for case in theirs.runnable}
    base_cases, cases = ([p.case for p in side.cases if p.case.id in ours] for side in (theirs, plan))
    matched = pairing.match(base_cases, cases, wish.pair)
    if not any(b and c for b, c in matched):
        raise InputError(f"grid {wish.grid}: the two sides have no case in common that can be measured")
    return settings, plan, matched, probe


def _check_files(corner: Corner, place: Place, files: Mapping[str, str]) -> None:
    """Refuses a side whose layers lie elsewhere: both sides would measure the same code.

    Raises:
        InputError: they do.
    """
    for target, file in files.items():
        if place.top is not None and not Path(file).resolve().is_relative_to(place.top.resolve()):
            raise InputError(
                f"{corner.name} does not hold {target}, which was found in {file}: a revision or folder must have the"
                " source of every layer at its top or below src/; give environments (venv:PATH) for installed packages"
            )


def _theirs(wish: Wish, base: Place, devices: tuple[str, ...]) -> Plan | None:
    """Returns the plan of the base's own version of the grid file, None where it has none of its own."""
    from bench import grid, sources  # noqa: PLC0415

    path = wish.here / wish.grid
    top = sources.top(wish.here)
    if base.top is None or wish.sources[0].commit is None or top is None or not path.is_file():
        return None
    if not path.resolve().is_relative_to(top):
        return None
    own = base.top / path.resolve().relative_to(top)
    return replace(wish.asked, grid=grid.load(str(own))).plan(devices) if own.is_file() else None


def _start(wish: Wish, store: Store, settings: Settings, plan: Plan, matched: list[Matched], probe: Probe) -> Run:
    """Returns the run that keeps the duel, in the store before anything is measured."""
    from bench.run import new_run  # noqa: PLC0415
    from bench.verdicts import THRESHOLD, Verdict  # noqa: PLC0415

    both = {c.id for b, c in matched if b is not None and c is not None}
    cases = tuple(planned for planned in plan.cases if planned.case.id in both or planned.skip is not None)
    told = {
        "base": wish.names[0],
        "candidate": wish.names[1],
        "commits": [source.commit for source in wish.sources],
        "axis": None if wish.pair is None else wish.pair.axis,
        "looks": list(wish.looks),
        "threshold": settings.thresholds.get("latency", THRESHOLD),
        "thresholds": dict(settings.thresholds),
        "max_seconds": wish.max_seconds,
        Verdict.MISSING.value: [dict(b) for b, c in matched if b is not None and c is None],
        Verdict.NEW.value: [dict(c) for b, c in matched if b is None and c is not None],
    }
    return new_run(
        store,
        replace(plan, cases=cases),
        probe,
        settings,
        name=wish.name,
        prefix="duel-",
        command=shlex.join(["softmoe-bench", *sys.argv[1:]]),
        further={"duel": told},
    )

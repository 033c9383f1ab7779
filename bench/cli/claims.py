"""`softmoe-bench claims`: what the papers say, checked on this machine."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from bench.cli.options import json_option, report_option, store_option
from bench.cli.report import check_report, write_at_end
from bench.errors import Exit, InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.claims import Claim, Judged
    from bench.run import Summary


@click.command()
@click.option("--list", "listing", is_flag=True, help="List the claims with their sources; measure nothing.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this claim (repeatable).")
@click.option("--fast", is_flag=True, help="Less of each: under two minutes on two CPU cores instead of thirty.")
@store_option
@click.option("--name", help="Name of the run (default: claims and a number).")
@report_option
@json_option
def claims(
    listing: bool,  # noqa: FBT001  (click passes flags by name)
    only: tuple[str, ...],
    fast: bool,  # noqa: FBT001
    store: str | None,
    name: str | None,
    report_to: Path | None,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Check what the papers claim: their figure, ours, and whether it was reproduced.

    Everything measured is a run in the store, so that `show` and `report` have it again. The exit code is 1 where a
    claim that held when it was last looked at does not hold here, 3 where a case failed.
    """
    from bench.claims import TABLE  # noqa: PLC0415

    for word in only:
        if word not in TABLE:
            raise InputError(unknown("claim", word, TABLE))
    chosen = [claim for claim in TABLE.values() if not only or claim.name in only]
    if listing:
        if fast or name or report_to is not None:
            raise InputError("claims --list measures nothing: leave out --fast, --name and --report")
        _list(chosen, as_json=as_json)
        return Exit.OK
    if report_to is not None:
        check_report(report_to)
    return _check(chosen, store, name, report_to, fast=fast, as_json=as_json)


def _check(
    chosen: Sequence[Claim], where: str | None, name: str | None, report_to: Path | None, *, fast: bool, as_json: bool
) -> int:
    """Measures what the claims ask and answers."""
    from bench import executors, results  # noqa: PLC0415
    from bench.claims import TABLE, asking  # noqa: PLC0415
    from bench.cli import answer, claims_shown  # noqa: PLC0415
    from bench.cli.asking import memory_of  # noqa: PLC0415
    from bench.cli.run import measure, say_again  # noqa: PLC0415
    from bench.run import new_run  # noqa: PLC0415
    from bench.schema import check  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    check(where)
    settings = asking.settings(fast=fast)
    with executors.make("isolated") as executor:
        probe = executor.probe([])
        devices = probe.devices
        plan = asking.plan_of(chosen, fast=fast, devices=devices, memory=memory_of(devices))
        opened = open_store(where, create=True)
        try:
            further = asking.note(chosen, plan, fast=fast)
            command = shlex.join(["softmoe-bench", *sys.argv[1:]])
            run = new_run(opened, plan, probe, settings, name=name, command=command, further=further)
            summary = measure(opened, run, plan, settings, executor)
            found = results.load(opened, opened.find(run.id))
            judged = asking.of_results(TABLE, found)
            if as_json:
                answer.write(claims_shown.as_plain(judged, run.name))
            else:
                claims_shown.show(judged)
            if summary.interrupted:
                say_again(opened, run)
            elif report_to is not None:
                write_at_end([found], report_to)
        finally:
            opened.close()
    return _code(judged, summary)


def _code(judged: Sequence[Judged], summary: Summary) -> int:
    """Returns the exit code: a claim that fell comes before cases that failed."""
    if summary.interrupted:
        return Exit.INTERRUPTED
    if any(each.fallen for each in judged):
        return Exit.WORSE
    return Exit.INCOMPLETE if summary.failed else Exit.OK


def _list(chosen: Sequence[Claim], *, as_json: bool) -> None:
    """Prints the claims, measuring nothing."""
    from bench.cli import answer, terminal  # noqa: PLC0415

    if as_json:
        keys = ("name", "text", "source", "how", "minutes", "expected")
        answer.write([{key: getattr(claim, key) for key in keys} for claim in chosen])
        return
    out = terminal.console()
    for claim in chosen:
        full, fast = (f"{minutes:g} min" for minutes in claim.minutes)
        out.print(f"[bold]{claim.name}[/]  ({full}, fast {fast}; {claim.expected} when last looked at)")
        for text in (claim.text, f"Checked: {claim.how}", f"Source: {claim.source}."):
            out.print(f"  {text}", markup=False)

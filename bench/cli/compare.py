"""`softmoe-bench compare`: did it get slower?"""

from __future__ import annotations

import gc
import shlex
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bench.cli.options import store_option
from bench.cli.thresholds import parse_thresholds, threshold_option
from bench.cli.verdict_options import Delivery, deliver, verdict_options
from bench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.records import Run
    from bench.store import Store

BASELINE = "baseline:"


@click.command()
@click.argument("base")
@click.argument("candidate", required=False)
@click.option(
    "--pair",
    metavar="AXIS=BASE,CANDIDATE",
    help="Compare cases that differ in one axis, as in backend=einsum,fused; with one run, within it.",
)
@threshold_option
@click.option(
    "--normalise",
    is_flag=True,
    help="Compare shares of each machine's own measured ceiling (see `calibrate`): for different machines, and weaker.",
)
@store_option
@verdict_options
def compare(
    *,
    base: str,
    candidate: str | None,
    pair: str | None,
    thresholds: tuple[str, ...],
    normalise: bool,
    store: str | None,
    delivery: Delivery,
) -> int:
    """Compare CANDIDATE with BASE case by case (runs: id, prefix, name, latest or baseline:NAME).

    Exit code 1 if a case is slower or needs more memory, FLOPs or parameters, 3 if one is missing or failed, 4 if the
    runs cannot be compared; --fail-on says otherwise.
    """
    from bench import compare as comparing  # noqa: PLC0415
    from bench import floors, pairing, sides  # noqa: PLC0415
    from bench.store import open_store  # noqa: PLC0415

    if candidate is None and pair is None:
        raise InputError("compare needs two runs, or one run and --pair AXIS=BASE,CANDIDATE")
    asked = None if pair is None else pairing.parse_pair(pair)
    wanted = parse_thresholds(thresholds)
    opened = open_store(store)
    of_base, new = _base(opened, base), opened.find(candidate or base)
    if of_base is None:
        _say_first(base, new)
        found = comparing.first(sides.load(opened, new)[0], base)
    else:
        if asked is None and of_base.id == new.id:
            raise InputError(f"{base} and {candidate} are the same run ({new.name}): there is nothing to compare")
        for run in (of_base, new):
            _check_kind(run)
        with _uncollected():
            both = sides.load(opened, of_base, new)
            found = comparing.compare(both[0], both[1], thresholds=wanted, pair=asked, normalise=normalise)
        found = replace(found, remarks=(*found.remarks, *floors.remarks(opened, found, new)))
    return deliver(found, delivery, command=shlex.join(["softmoe-bench", *sys.argv[1:]]))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keeps the garbage collector from looking, again and again, through records that all stay to the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _base(store: Store, word: str) -> Run | None:
    """Returns the run that a word names, None for a baseline where there is none of any name yet: a first run.

    Raises:
        InputError: no run or several have it, or there are other baselines.
    """
    return store.find_baseline(word.removeprefix(BASELINE)) if word.startswith(BASELINE) else store.find(word)


def _say_first(base: str, candidate: Run) -> None:
    """Says what to do where there is nothing yet to compare with."""
    click.echo(
        "no baseline yet, so there is nothing to compare with:"
        f" `softmoe-bench baseline save {base.removeprefix(BASELINE)} {candidate.name}` makes this run the baseline",
        err=True,
    )


def _check_kind(run: Run) -> None:
    """Refuses a run that is a comparison already.

    Raises:
        InputError: it is a duel.
    """
    if "duel" in run.settings:
        raise InputError(f"run {run.name} is a duel, and compares two sides already: `softmoe-bench show {run.name}`")

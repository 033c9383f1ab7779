"""Which runs of a store may go: by number or by age, never one that a baseline stands for or that still runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from bench.errors import InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Run
    from bench.store import Store

SECONDS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
"""Units of an age."""


@dataclass(frozen=True)
class Held:
    """A run of a store and what it takes; `bytes` are those of its texts, without what the database adds."""

    run: Run
    outcomes: int
    samples: int
    bytes: int


@dataclass(frozen=True)
class Choice:
    """Runs that go, and those that would have gone but are protected, each with the reason."""

    going: tuple[Held, ...]
    protected: tuple[tuple[Held, str], ...]


def held(store: Store) -> list[Held]:
    """Returns every run of a store with what it takes, in the order in which they were begun."""
    sizes = store.sizes()
    return [Held(run, *sizes.get(run.id, (0, 0, 0))) for run in store.runs()]


def parse_age(words: str) -> float:
    """Returns the seconds that an age such as 90d means.

    Raises:
        InputError: it is no whole number of hours, days or weeks.
    """
    found = re.fullmatch(r"(\d{1,6})([hdw])", words.strip().lower())
    if found is None:
        raise InputError(f"age '{words}': write a number of hours, days or weeks, as in 36h, 90d or 12w")
    return int(found[1]) * SECONDS[found[2]]


def of_grid(runs: Sequence[Held], grid: str) -> list[Held]:
    """Returns the runs of a grid, named as it was given to `run` or by the name of its file.

    Raises:
        InputError: no run was made of it.
    """
    found = [one for one in runs if grid in (one.run.grid, PurePath(one.run.grid).stem)]
    if runs and not found:
        raise InputError(unknown("grid", grid, dict.fromkeys(one.run.grid for one in runs)))
    return found


def choose(
    runs: Sequence[Held],
    baselines: Mapping[str, str],
    *,
    now: float,
    keep: int | None = None,
    older_than: float | None = None,
    force: bool = False,
) -> Choice:
    """Returns which runs go: all but the newest `keep` of each grid, those begun `older_than` seconds ago, or both.

    With both, only what neither keeps goes. `baselines` names the baseline of a run by the run's id; `force` gives up
    runs that are marked as running, which is also what a program that was killed leaves behind.
    """
    newest: set[str] = set()
    if keep:
        for grid in {one.run.grid for one in runs}:
            newest |= {one.run.id for one in [one for one in runs if one.run.grid == grid][-keep:]}
    going, protected = [], []
    for one in runs:
        young = older_than is not None and now - one.run.started < older_than
        if one.run.id in newest or young:
            continue
        if one.run.id in baselines:
            protected.append((one, f"baseline {baselines[one.run.id]}"))
        elif one.run.state == "running" and not force:
            protected.append((one, "running, or its program was killed: --force gives it up"))
        else:
            going.append(one)
    return Choice(tuple(going), tuple(protected))

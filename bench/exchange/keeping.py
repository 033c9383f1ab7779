"""Runs from files into a store: each once, under a name that is free, and never over another one unasked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench import results
from bench.errors import InputError
from bench.exchange import baseline, pytest_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.exchange.record import Recorded
    from bench.records import Run
    from bench.results import RunResults
    from bench.store import Store


@dataclass(frozen=True)
class Kept:
    """A run that is in the store now; `fresh` where it was not there before, or was another."""

    run: Run
    fresh: bool


def keep(store: Store, recorded: Recorded, *, name: str | None = None, replacing: bool = False) -> Kept:
    """Keeps a run from a file, as the latest; its id tells whether it is there already.

    Raises:
        InputError: the store has the run with other figures and it is not to be replaced, or another run of that name.
    """
    return _keep(store, recorded, pytest_json.write, name=name, replacing=replacing)


def keep_baseline(store: Store, recorded: Recorded, *, name: str | None = None, replacing: bool = False) -> Kept:
    """Keeps a run from a baseline's file, as the oldest, and lets the baseline of that name stand for it.

    Raises:
        InputError: the name stands for another run, or the store has this run with other figures, and nothing is to be
            replaced; or the name is none.
    """
    word = baseline_name(recorded, name)
    stands = {one.name: one.run for one in store.baselines()}.get(word)
    if stands is not None and stands.id != recorded.run.id and not replacing:
        raise InputError(
            f"baseline {word} stands for run {stands.name} ({stands.id}), and the file is of run {recorded.run.id}:"
            " replace it with --replace, or give the other one a --name"
        )
    kept = _keep(store, recorded, lambda found: baseline.write(found, ""), replacing=replacing, first=True)
    if stands is None or stands.id != kept.run.id:
        store.save_baseline(word, kept.run)
        return replace(kept, fresh=True)
    return kept


def baseline_name(recorded: Recorded, name: str | None) -> str:
    """Returns the name of a file's baseline, or the one that it shall have instead.

    Raises:
        InputError: see `check_name`.
    """
    return check_name(recorded.baseline or "" if name is None else name)


def check_name(name: str) -> str:
    """Returns the name of a baseline.

    Raises:
        InputError: it is empty, too long, or looks as a run is called.
    """
    if not name.strip() or name.startswith("baseline:") or len(name) > 200:
        raise InputError(f"baseline name '{name}': give a plain word; baseline:NAME is how a run is called later")
    return name


def _keep(
    store: Store,
    recorded: Recorded,
    write: Callable[[RunResults], str],
    *,
    name: str | None = None,
    replacing: bool = False,
    first: bool = False,
) -> Kept:
    """Keeps a run; it is the same as one in the store if both are written alike."""
    runs = store.runs()
    there = next((run for run in runs if run.id == recorded.run.id), None)
    if there is not None:
        run = replace(recorded.run, name=there.name)
        if write(results.load(store, there)) == write(replace(recorded, run=run).results):
            return Kept(there, fresh=False)
        if not replacing:
            raise InputError(
                f"store {store.shown_as} has run {there.name} ({there.id}) with other figures than the file: replace"
                " it with --replace"
            )
    else:
        taken = {run.name for run in runs}
        free = recorded.run.name if recorded.run.name not in taken else f"{recorded.run.name}-{recorded.run.id[:4]}"
        run = replace(recorded.run, name=name or free)
    store.keep_run(run, recorded.plan, recorded.outcomes, first=first)
    return Kept(run, fresh=True)

"""A parent process that is killed at some moment: the real loop and the real store, with recorded outcomes.

Tells through a pipe which outcome is in the store, each as soon as it is.
"""

import signal
from multiprocessing.connection import Connection

from recorded import PROBE, measured

from bench import grid, plan
from bench.executors.replay import ReplayExecutor
from bench.interrupts import first_only
from bench.plan import Plan
from bench.records import Case, Outcome, Settings
from bench.run import execute, new_run
from bench.store import open_store

SETTINGS = Settings(repeats=40)
GRID = {
    "grid": {"name": "doomed", "description": "Is it still there?"},
    "sweep": [{"layer": "soft", "num_experts": [2, 4, 8, 16, 32], "slots_per_expert": 2}],
}


def the_plan() -> Plan:
    return plan.make(grid.parse(GRID, source="doomed.toml"))


def outcomes() -> list[Outcome]:
    return [o for case in the_plan().runnable for o in measured(case, [1.0] * SETTINGS.repeats)]


class Telling:
    """Tells of each outcome that is in the store."""

    def __init__(self, told: Connection) -> None:
        self._told = told

    def begin(self, total: int) -> None:
        self._told.send(total)

    def pass_over(self, case: Case) -> None:
        pass

    def start(self, case: Case, repeat: int) -> None:
        pass

    def end(self, case: Case, outcome: Outcome) -> None:
        self._told.send((case.id, outcome.repeat))


def main(path: str, told: Connection) -> None:
    """Goes on with the only run of a store, or begins it."""
    for number in (signal.SIGINT, signal.SIGHUP):  # what a shell starts in the background ignores them
        signal.signal(number, signal.SIG_DFL)
    with first_only():
        store = open_store(path, create=True)
        asked = the_plan()
        run = store.runs()[-1] if store.runs() else new_run(store, asked, PROBE, SETTINGS)
        summary = execute(asked, ReplayExecutor(outcomes()), store, run, SETTINGS, Telling(told))
        told.send("interrupted" if summary.interrupted else "complete")

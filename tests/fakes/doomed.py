"""A parent process that is killed at some moment: the real loop and the real store, with recorded outcomes.

Says on its standard output which outcome is in the store, each as soon as it is.
"""

import sys
import time

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

    def begin(self, total: int) -> None:
        say(f"begin {total}")

    def pass_over(self, case: Case) -> None:
        pass

    def start(self, case: Case, repeat: int) -> None:
        pass

    def end(self, case: Case, outcome: Outcome) -> None:
        say(f"kept {case.id} {outcome.repeat}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(path: str, patience: float) -> None:
    """Goes on with the only run of a store, or begins it."""
    store = open_store(path, create=True)
    asked = the_plan()
    run = store.runs()[-1] if store.runs() else new_run(store, asked, PROBE, SETTINGS)
    with first_only():
        summary = execute(asked, ReplayExecutor(outcomes()), store, run, SETTINGS, Telling())
    say("interrupted" if summary.interrupted else "complete")
    time.sleep(patience)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))

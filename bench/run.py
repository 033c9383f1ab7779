"""Plan and executor into the store: the only loop over cases."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench import environment
from bench import plan as plans
from bench.errors import NotComparableError
from bench.gpus import gpus
from bench.records import FAILED, Environment, Run, Status
from bench.store import new_run_id

if TYPE_CHECKING:
    from bench.executors import Executor, Probe
    from bench.plan import Plan
    from bench.records import Case, Outcome, Settings
    from bench.store import Store


class Progress(Protocol):
    """Is told what happens; draws it, or does not."""

    def begin(self, total: int) -> None:
        """The run begins; `total` is its number of processes, those of an earlier attempt included."""

    def pass_over(self, case: Case) -> None:
        """A repeat of a case is not measured: it is in the store already, or the case has failed before."""

    def start(self, case: Case, repeat: int) -> None:
        """A repeat of a case starts."""

    def end(self, case: Case, outcome: Outcome) -> None:
        """A repeat of a case has ended and is stored."""


@dataclass(frozen=True)
class Summary:
    """How a run went; `interrupted` when the user stopped it, `failed` the ids of cases that did not end well."""

    interrupted: bool
    failed: tuple[str, ...]
    measured: int


def new_run(
    store: Store, plan: Plan, probe: Probe, settings: Settings, *, name: str | None = None, command: str = ""
) -> Run:
    """Returns a fresh run of a plan on this machine, kept in the store before anything is measured.

    Raises:
        InputError: the store has a run of that name.
        StoreError: the store cannot be written.
    """
    where = Environment(
        comparable=comparable_facts(probe),
        informational={
            **environment.informational_facts(),
            "packages": environment.package_versions((*environment.PACKAGES, *plan.packages)),
            "git": environment.git_facts(Path.cwd()),
            "gpus": [asdict(gpu) for gpu in gpus()],
        },
    )
    run = Run(
        id=new_run_id(),
        name=name or store.free_name(plan.grid.name),
        grid=plan.grid.source,
        description=plan.grid.description,
        command=command,
        settings=asdict(settings),
        environment=where,
        started=time.time(),
    )
    store.start_run(run, plan.cases)
    return run


def comparable_facts(probe: Probe) -> dict[str, Any]:
    """Returns the facts of machine, torch and GPU that must agree for two runs to be compared."""
    return {
        **environment.comparable_facts(),
        **probe.comparable,
        **(gpus()[0].comparable_facts() if "cuda" in probe.devices and gpus() else {}),
    }


def check_same_machine(run: Run, probe: Probe) -> None:
    """Refuses to go on with a run elsewhere than where it began.

    Raises:
        NotComparableError: a comparable fact differs.
    """
    differ = environment.differences(run.environment.comparable, comparable_facts(probe))
    if differ:
        facts = "; ".join(f"{fact} was {before} and is {now}" for fact, before, now in differ)
        raise NotComparableError(f"run {run.name} cannot go on here: {facts}; start a new run")


def execute(
    plan: Plan,
    executor: Executor,
    store: Store,
    run: Run,
    settings: Settings,
    progress: Progress,
) -> Summary:
    """Measures what the store does not hold yet of a run, one outcome at a time, and returns how it went.

    A case that fails is not tried again in later rounds. Stopping with Ctrl-C keeps everything measured.
    """
    kept = {(o.case_id, o.repeat): o.status for o in store.outcomes(run.id)}
    ended = {case_id for (case_id, _), status in kept.items() if status is not Status.OK}
    rounds = list(plan.rounds(settings.repeats, settings.seed))
    measured = 0
    store.set_state(run.id, "running")
    progress.begin(sum(len(cases) for _, cases in rounds))
    try:
        for repeat, cases in rounds:
            for case in cases:
                if case.id in ended or (case.id, repeat) in kept:
                    progress.pass_over(case)
                    continue
                progress.start(case, repeat)
                outcome = executor.run(plans.task(case, repeat, settings))
                store.add_outcome(run.id, outcome)
                measured += 1
                if outcome.status is not Status.OK:
                    ended.add(case.id)
                progress.end(case, outcome)
    except KeyboardInterrupt:
        store.set_state(run.id, "interrupted")
        return Summary(interrupted=True, failed=_failed(store, run), measured=measured)
    store.set_state(run.id, "complete")
    return Summary(interrupted=False, failed=_failed(store, run), measured=measured)


def _failed(store: Store, run: Run) -> tuple[str, ...]:
    """Returns the cases of a run that failed."""
    return tuple(dict.fromkeys(o.case_id for o in store.outcomes(run.id) if o.status in FAILED))

"""Plan and executor into the store: the only loop over cases."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench import environment, monotonic
from bench import plan as plans
from bench.errors import InputError, NotComparableError, StoreError
from bench.gpus import gpus, used_first
from bench.interrupts import held
from bench.records import FAILED, Environment, Run, Status
from bench.store import new_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bench.executors import Executor, Probe
    from bench.plan import Plan
    from bench.records import Case, Outcome, Settings, Task
    from bench.store import Store


class Progress(Protocol):
    """Is told what happens; draws it, or does not."""

    def begin(self, total: int) -> None:
        """The run begins; `total` is its number of processes, those of an earlier attempt included."""

    def pass_over(self, case: Case) -> None:
        """A repeat of a case is not measured: it is in the store already, or the case has ended or is too large."""

    def start(self, case: Case, repeat: int) -> None:
        """A repeat of a case starts."""

    def end(self, case: Case, outcome: Outcome) -> None:
        """A repeat of a case has ended and is stored."""


@dataclass(frozen=True)
class Summary:
    """How a run went; `interrupted` when the user stopped it, `failed` the ids of cases that did not end well.

    `measured` counts the processes of this attempt. Of its `seconds`, `in_workers` were spent measuring.
    """

    interrupted: bool
    failed: tuple[str, ...]
    measured: int
    seconds: float
    in_workers: float


def new_run(
    store: Store,
    plan: Plan,
    probe: Probe,
    settings: Settings,
    *,
    name: str | None = None,
    prefix: str = "",
    command: str = "",
    further: Mapping[str, Any] | None = None,
) -> Run:
    """Returns a fresh run of a plan on this machine, kept in the store before anything is measured.

    Without a name it is called after its grid, with a prefix and the first free number. `further` is kept with its
    settings.

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
            "gpus": [asdict(gpu) for gpu in used_first(gpus(), probe.gpu)],
        },
    )
    stem = prefix + plan.grid.name
    while True:
        run = Run(
            id=new_run_id(),
            name=name or store.free_name(stem),
            grid=plan.grid.source,
            description=plan.grid.description,
            command=command,
            settings={**asdict(settings), **(further or {})},
            environment=where,
            started=time.time(),
        )
        try:
            store.start_run(run, plan.cases)
        except (InputError, StoreError):
            if name is not None or store.free_name(stem) == run.name:
                raise
        else:  # otherwise another program has taken the name in between
            return run


def comparable_facts(probe: Probe) -> dict[str, Any]:
    """Returns the facts of machine, torch and GPU that must agree for two runs to be compared."""
    found = used_first(gpus(), probe.gpu) if "cuda" in probe.devices else []
    return {
        **environment.comparable_facts(),
        **probe.comparable,
        **(found[0].comparable_facts() if found else {}),
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
    *,
    retry_failed: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Summary:
    """Measures what the store does not hold yet of a run, one outcome at a time, and returns how it went.

    A case that fails is not tried again in later rounds, and one that is larger than one that ran out of memory is not
    tried at all (`bench.monotonic`); with `retry_failed` those of earlier attempts are. Stopping with Ctrl-C keeps
    everything measured.
    """
    began = clock()
    ledger = _Ledger(plan.runnable, store.outcomes(run.id), retry_failed=retry_failed)
    rounds = list(plan.rounds(settings.repeats, settings.seed))
    interrupted = False
    store.set_state(run.id, "running")
    try:
        progress.begin(sum(len(cases) for _, cases in rounds))
        for repeat, cases in rounds:
            for case in cases:
                if ledger.is_done(case, repeat):
                    progress.pass_over(case)
                elif (smaller := ledger.exceeded(case)) is not None:
                    outcome = monotonic.skipped(case, repeat, smaller, time.time())
                    store.add_outcome(run.id, outcome)
                    ledger.enter(outcome)
                    progress.pass_over(case)
                else:
                    progress.start(case, repeat)
                    progress.end(case, _measure(executor, plans.task(case, repeat, settings), store, run, ledger))
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        with suppress(StoreError):  # the store may be what failed
            store.set_state(run.id, "interrupted")
        raise
    store.set_state(run.id, "interrupted" if interrupted else "complete")
    return Summary(
        interrupted=interrupted,
        failed=_failed(store, run),
        measured=ledger.measured,
        seconds=clock() - began,
        in_workers=ledger.in_workers,
    )


def _measure(executor: Executor, task: Task, store: Store, run: Run, ledger: _Ledger) -> Outcome:
    """Returns the outcome of a task once it is in the store; an interruption after the measurement does not lose it."""
    outcome: Outcome | None = None
    try:
        outcome = executor.run(task)
        with held():
            store.add_outcome(run.id, outcome)
    except KeyboardInterrupt:
        if outcome is not None:
            store.add_outcome(run.id, outcome)  # it may have been on its way there, and takes the place of its like
            ledger.enter_measured(outcome)
        raise
    ledger.enter_measured(outcome)
    return outcome


class _Ledger:
    """What is known of a run's cases while it goes on: what is done, who has failed, and what the measuring took."""

    def __init__(self, cases: Sequence[Case], outcomes: Iterable[Outcome], *, retry_failed: bool) -> None:
        self._cases = {case.id: case for case in cases}
        self._done: set[tuple[str, int]] = set()
        self._ended: set[str] = set()
        self._fitting: set[str] = set()
        self._exhausted: list[Case] = []
        self.measured = 0
        self.in_workers = 0.0
        for outcome in outcomes:
            if outcome.case_id in self._cases and not (retry_failed and _may_be_retried(outcome)):
                self.enter(outcome)

    def enter(self, outcome: Outcome) -> None:
        """Takes note of an outcome that is in the store."""
        self._done.add((outcome.case_id, outcome.repeat))
        if outcome.status is Status.OK:
            self._fitting.add(outcome.case_id)
        else:
            self._ended.add(outcome.case_id)
        if outcome.status is Status.OUT_OF_MEMORY:
            self._exhausted.append(self._cases[outcome.case_id])

    def enter_measured(self, outcome: Outcome) -> None:
        """Takes note of an outcome that a worker has just brought."""
        self.enter(outcome)
        self.measured += 1
        self.in_workers += outcome.finished - outcome.started

    def is_done(self, case: Case, repeat: int) -> bool:
        """Returns whether there is nothing to measure: the repeat is stored, or its case has ended."""
        return case.id in self._ended or (case.id, repeat) in self._done

    def exceeded(self, case: Case) -> Case | None:
        """Returns a case that ran out of memory and that this one is as large as, unless this one is known to fit."""
        return None if case.id in self._fitting else monotonic.exceeded(case, self._exhausted)


def _may_be_retried(outcome: Outcome) -> bool:
    """Returns whether the case of an outcome could end otherwise in another attempt.

    A planned case that is skipped all the same was kept from being started by one that ran out of memory.
    """
    return outcome.status in FAILED or outcome.status is Status.SKIPPED


def _failed(store: Store, run: Run) -> tuple[str, ...]:
    """Returns the cases of a run that failed."""
    return tuple(dict.fromkeys(o.case_id for o in store.outcomes(run.id) if o.status in FAILED))

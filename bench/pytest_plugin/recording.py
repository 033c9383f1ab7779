"""The run that a session records: its cases measured in shuffled rounds before the first of their tests."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import compare, executors, layers, plan, results, sides
from bench.errors import BenchError, InputError, NotComparableError
from bench.grid import Grid
from bench.pytest_plugin.options import BASELINE
from bench.records import Planned, Settings
from bench.run import execute, new_run
from bench.schema import check
from bench.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.executors import Executor
    from bench.pytest_plugin.options import Options
    from bench.records import Case, Run
    from bench.results import CaseResult
    from bench.run import Progress
    from bench.store import Store
    from bench.verdicts import Comparisons

EXECUTOR = "isolated"


@dataclass(frozen=True)
class About:
    """What a run says of the session that made it."""

    description: str
    command: str


class Silent:
    """Shows nothing of a run."""

    def begin(self, total: int) -> None:
        """The run begins."""

    def pass_over(self, case: Case) -> None:
        """A repeat is not measured."""

    def start(self, case: Case, repeat: int) -> None:
        """A repeat starts."""

    def end(self, case: Case, outcome: object) -> None:
        """A repeat has ended."""


class Recording:
    """A run that begins with the cases known beforehand, and takes on others while tests go on."""

    def __init__(self, options: Options, about: About) -> None:
        self._options, self._about = options, about
        given = {"repeats": options.repeats, "max_seconds": options.max_seconds}
        self.settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        self.base: Run | None = None
        self.run: Run | None = None
        self.interrupted = False
        self._open = ExitStack()
        self._executor: Executor | None = None
        self._store: Store | None = None
        self._unreachable: dict[str, str] = {}
        self._failure: BenchError | None = None
        self._found: Mapping[str, CaseResult] | None = None
        self._compared: Comparisons | None = None

    def prepare(self) -> None:
        """Finds the run to compare with, while the latest one is not yet our own; writes nothing.

        Raises:
            BenchError: a store that cannot be used, or no such run.
        """
        check(self._options.store)
        word = self._options.compare
        if word is None:
            return
        try:
            store = open_store(self._options.store)
        except BenchError:
            if word.startswith(BASELINE):  # the store is yet to be made
                return
            raise
        try:
            self.base = self._find(store, word)
        finally:
            store.close()
        if self.base is not None and "duel" in self.base.settings:
            raise InputError(f"run {self.base.name} is a duel, which compares two sides already: name another run")

    def begin(self, planned: Sequence[Planned], progress: Progress) -> None:
        """Measures cases as the first of the run; what keeps all of them from it is told to each test.

        Raises:
            KeyboardInterrupt: the user ended it; what was measured is kept.
        """
        try:
            if self._executor is None:
                self._executor = self._open.enter_context(executors.make(EXECUTOR))
            executor = self._executor
            kept = self._reachable(executor, planned)
            if not kept:
                return
            self._store = open_store(self._options.store, create=True)
            self._open.callback(self._store.close)
            asked = self._plan(kept)
            self.run = new_run(self._store, asked, executor.probe([]), self.settings, command=self._about.command)
            self._execute(asked, progress)
        except BenchError as error:
            self._failure = error

    def result(self, case: Case) -> CaseResult:
        """Returns what was found of a case; one that the run does not have is measured now.

        Raises:
            BenchError: it could not be measured.
            KeyboardInterrupt: the user ended it.
        """
        if self._failure is not None:
            raise self._failure
        layer = str(case["layer"])
        if case.id not in self._results() and layer not in self._unreachable:
            self._take_on(Planned(case))
        if self._failure is not None:
            raise self._failure
        if layer in self._unreachable:
            raise InputError(self._unreachable[layer])
        return self._results()[case.id]

    def comparison(self) -> Comparisons | None:
        """Returns the comparison with the base as far as the run has come, None where there is nothing to compare.

        Raises:
            NotComparableError: the runs were made on machines or with libraries that differ.
        """
        if self._compared is None and self.base and self.run and self._store:
            self._compared = compare.compare(*sides.load(self._store, self.base, self.run))
        return self._compared

    def verdict(self, case: Case) -> dict[str, object]:
        """Returns what the comparison says of a case, nothing where there is none."""
        try:
            found = self.comparison()
        except NotComparableError:
            return {}
        row = next((row for row in found.rows if row.case_id == case.id), None) if found else None
        if row is None:
            return {}
        ratio = {} if row.ratio is None else {"ratio": row.ratio.estimate}
        return {"verdict": row.verdict.value, **ratio, **({"reason": row.reason} if row.reason else {})}

    def of_run(self) -> list[CaseResult]:
        """Returns what was found of every case of the run."""
        return list(self._results().values())

    def save(self, name: str) -> None:
        """Lets a name stand for the run from now on."""
        if self._store is not None and self.run is not None:
            self._store.save_baseline(name, self.run)

    def remarks(self, found: Comparisons) -> list[str]:
        """Returns what a self-check on this machine has to say against the threshold of a comparison."""
        from bench import floors  # noqa: PLC0415

        return floors.remarks(self._store, found, self.run) if self._store and self.run else []

    def close(self) -> None:
        """Leaves no process behind."""
        self._open.close()

    def _find(self, store: Store, word: str) -> Run | None:
        """Returns the run that a word names, None for a baseline that this session is the first to make."""
        if not word.startswith(BASELINE):
            return store.find(word)
        name = word.removeprefix(BASELINE)
        if name == self._options.save and name not in [baseline.name for baseline in store.baselines()]:
            return None
        return store.find_baseline(name)

    def _take_on(self, planned: Planned) -> None:
        """Measures a case that was not known beforehand: its processes come one after the other."""
        if self.run is None or self._store is None or self._executor is None:
            self.begin([planned], Silent())
            return
        if self._reachable(self._executor, [planned]):
            self._store.add_case(self.run, planned.case)
            self._execute(self._plan([planned]), Silent())

    def _execute(self, asked: plan.Plan, progress: Progress) -> None:
        """Measures a part of the run."""
        assert self._executor  # noqa: S101  (for the type checker)
        assert self._store  # noqa: S101
        assert self.run  # noqa: S101
        self._found = self._compared = None
        summary = execute(asked, self._executor, self._store, self.run, self.settings, progress)
        if summary.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt

    def _plan(self, planned: Sequence[Planned]) -> plan.Plan:
        """Returns the plan of some cases."""
        return plan.Plan(Grid("pytest", self._about.description, "pytest"), tuple(planned))

    def _reachable(self, executor: Executor, planned: Sequence[Planned]) -> list[Planned]:
        """Returns the cases whose layer a fresh process can import, and keeps in mind why others are left out."""
        targets = {str(p.case["layer"]): layers.of_case(p.case).target for p in planned if p.skip is None}
        if executor.probe(list(targets.values())).problems:
            for name, target in targets.items():
                problems = executor.probe([target]).problems
                if problems:
                    self._unreachable[name] = "; ".join(problems)
        return [p for p in planned if str(p.case["layer"]) not in self._unreachable]

    def _results(self) -> Mapping[str, CaseResult]:
        """Returns what was found so far, by the ids of cases."""
        if self._found is None:
            whole = results.load(self._store, self.run).cases if self._store and self.run else ()
            self._found = {result.case.id: result for result in whole}
        return self._found

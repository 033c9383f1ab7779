"""Two sides measured in turn: the only comparison that noise of minutes and hours cannot reach.

Both sides are live processes; the parent alternates short blocks of the same calls in balanced order, ABBA or BAAB at
random, after M. Leitner-Ankerl's nanobench `compare` (2026) and L. Bulej et al., "Duet benchmarking", ICPE 2020. The
replicate is the pair of fresh processes, started anew for each round over the cases: two processes may differ for as
long as they live by where their memory happens to lie. Cases that are decided at a look are measured no more.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import duels, environment, looks
from bench import plan as plans
from bench.errors import StoreError
from bench.executors.contestant import Contestant, LostError
from bench.interrupts import held
from bench.records import INSPECTION, Observation, Outcome, Status
from bench.rounds import cores as cores_of
from bench.rounds import iterations as iterations_of
from bench.rounds import told_enough
from bench.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.executors import Executor
    from bench.executors.contestant import Ready
    from bench.executors.fork_server import Interpreter
    from bench.records import Case, Run, Settings
    from bench.run import Progress
    from bench.store import Store


@dataclass(frozen=True)
class Corner:
    """One side of a duel: its name for people, and where its workers run."""

    name: str
    interpreter: Interpreter


@dataclass(frozen=True)
class Duel:
    """What is fought out: base and candidate case of each match, by whom, and when it is decided."""

    matches: tuple[tuple[Case, Case], ...]
    corners: tuple[Corner, Corner]
    looks: tuple[int, ...]
    threshold: float
    max_seconds: float


def fight(
    duel: Duel,
    scales: Sequence[Executor],
    store: Store,
    run: Run,
    settings: Settings,
    progress: Progress,
    folder: Path,
) -> bool:
    """Measures pair after pair until every case is decided, and returns whether the user has stopped it.

    `scales` are an executor of each side, whose outcomes hold what can be compared exactly.

    Raises:
        WorkerError: no worker can be started at all; what was measured is kept.
        StoreError: the store cannot be written.
    """
    ring = _Ring(duel, store, run, settings, progress, folder)
    store.set_state(run.id, "running")
    state = "interrupted"
    try:
        progress.begin(len(duel.matches) * (1 + duel.looks[-1]))
        ring.weigh(scales)
        for number in range(1, duel.looks[-1] + 1):
            ring.pair(number)
        state = "complete"
    except KeyboardInterrupt:
        pass
    finally:
        with suppress(StoreError):  # the store may be what failed
            store.set_state(run.id, state)
    return state == "interrupted"


class _Ring:
    """What a duel knows while it goes on: the log ratios of each case's pairs, and which cases are over."""

    def __init__(
        self, duel: Duel, store: Store, run: Run, settings: Settings, progress: Progress, folder: Path
    ) -> None:
        self._duel, self._store, self._run, self._settings = duel, store, run, settings
        self._progress, self._folder = progress, folder
        self._random = random.Random(f"{run.id}/{settings.seed}")  # noqa: S311  (an order, not a secret)
        self._pairs: dict[str, list[tuple[float, float]]] = {candidate.id: [] for _, candidate in duel.matches}
        self._over: set[str] = set()

    def weigh(self, scales: Sequence[Executor]) -> None:
        """Keeps what both sides of each match have exactly: parameters, FLOPs, memory."""
        for match in self._duel.matches:
            self._progress.start(match[1], INSPECTION)
            base, candidate = (
                executor.run(plans.task(case, INSPECTION, self._settings))
                for executor, case in zip(scales, match, strict=True)
            )
            failed = {} if base.status is Status.OK else _failure(base.status, base.detail)
            self._keep(match, replace(candidate, facts={**candidate.facts, "base": _exact(base), **failed}))
            if not base.status is candidate.status is Status.OK:
                self._over.add(match[1].id)

    def pair(self, number: int) -> None:
        """Measures a pair of fresh processes for every case that is not decided yet."""
        matches = [match for match in self._duel.matches if match[1].id not in self._over]
        for _, case in self._duel.matches:
            if case.id in self._over:
                self._progress.pass_over(case)
        if not matches:
            return
        self._random.shuffle(matches)
        with ExitStack() as stack:
            names = ("base", "candidate")
            sides = [
                stack.enter_context(Contestant(name, corner.interpreter, self._folder))
                for name, corner in zip(names, self._duel.corners, strict=True)
            ]
            for match in matches:
                self._progress.start(match[1], number)
                outcome = self._bout(match, number, (sides[0], sides[1]))
                self._keep(match, outcome)
                self._decide(match[1], number, outcome)

    def _decide(self, case: Case, number: int, outcome: Outcome) -> None:
        """Takes note of a pair, and looks at the case if it is time to."""
        figure = duels.log_ratio(outcome)
        if figure is None:
            self._over.add(case.id)
            return
        pairs = self._pairs[case.id]
        pairs.append((figure, duels.log_error(outcome)))
        if number in self._duel.looks:
            found = looks.decide(
                [log for log, _ in pairs],
                self._duel.threshold,
                cases=len(self._duel.matches),
                looks=self._duel.looks,
                errors=[error for _, error in pairs],
            )
            if found.verdict is not Verdict.UNCLEAR:
                self._over.add(case.id)

    def _bout(self, match: tuple[Case, Case], number: int, sides: tuple[Contestant, Contestant]) -> Outcome:
        """Returns the outcome of one pair: the candidate's blocks, and beside them the base's."""
        started, began = time.time(), time.monotonic()
        outcome = Outcome(match[1].id, number, Status.OK)
        try:
            ready = self._enter(match, number, sides)
            outcome = replace(outcome, **self._exchange(match[1], number, sides, ready))
        except _SideLostError as lost:
            if lost.of_base:
                outcome = replace(outcome, facts=_failure(lost.error.status, lost.error.detail))
            else:
                outcome = replace(outcome, status=lost.error.status, detail=lost.error.detail)
        finally:
            with held():
                for side in sides:
                    side.leave()
        finished = started + (time.monotonic() - began)  # the clock may be set meanwhile
        return replace(outcome, started=started, finished=finished)

    def _enter(
        self, match: tuple[Case, Case], number: int, sides: tuple[Contestant, Contestant]
    ) -> tuple[Ready, Ready]:
        """Returns how both sides do once they are warm; who warms up first is left to chance."""
        found: dict[int, Ready] = {}
        cores = cores_of(match[1], environment.core_numbers(), number)
        for place in self._random.sample((0, 1), 2):
            task = plans.task(match[place], number, self._settings)
            with _of_base(place == 0):
                found[place] = sides[place].enter(task, cores)
        return found[0], found[1]

    def _exchange(
        self, case: Case, number: int, sides: tuple[Contestant, Contestant], ready: tuple[Ready, Ready]
    ) -> dict[str, Any]:
        """Returns the observations and facts of the blocks of a pair."""
        iterations = iterations_of(case, ready)
        blocks: tuple[list[float], list[float]] = ([], [])
        order = ""
        deadline = time.monotonic() + self._duel.max_seconds
        self._quad("01", 0, iterations, sides)  # what warming up the other side has driven out comes back
        while not told_enough(blocks, self._duel.threshold, late=time.monotonic() >= deadline):
            letters = self._random.choice(("0110", "1001"))
            for place, seconds in self._quad(letters, len(blocks[0]) * iterations, iterations, sides):
                blocks[place].append(seconds)
            order += letters
        return {
            "observations": (
                Observation("latency", "s", tuple(blocks[1])),
                Observation("base_latency", "s", tuple(blocks[0])),
            ),
            "facts": {
                "iterations": iterations,
                "rounds": len(blocks[0]),
                "order": order,
                "cores": cores_of(case, environment.core_numbers(), number),
                "sides_differ": environment.differences(ready[0].machine, ready[1].machine),
                **_outputs(sides[0].output(), sides[1].output()),
            },
        }

    def _quad(
        self, letters: str, turn: int, iterations: int, sides: tuple[Contestant, Contestant]
    ) -> list[tuple[int, float]]:
        """Returns the side and the seconds per call of each block, two blocks a round on the same inputs."""
        found = []
        for position, letter in enumerate(letters):
            place = int(letter)
            with _of_base(place == 0):
                found.append((place, sides[place].block(turn + position // 2 * iterations, iterations)))
        return found

    def _keep(self, match: tuple[Case, Case], outcome: Outcome) -> None:
        """Puts an outcome into the store."""
        with held():
            self._store.add_outcome(self._run.id, outcome)
        self._progress.end(match[1], outcome)


class _SideLostError(Exception):
    """A side is lost: which, and how."""

    def __init__(self, error: LostError, *, of_base: bool) -> None:
        super().__init__(str(error))
        self.error, self.of_base = error, of_base


@contextmanager
def _of_base(of_base: bool) -> Iterator[None]:  # noqa: FBT001  (there is nothing else to say)
    """Notes whose worker it was that was lost in the block."""
    try:
        yield
    except LostError as error:
        raise _SideLostError(error, of_base=of_base) from error


def _exact(outcome: Outcome) -> dict[str, float]:
    """Returns the single figures of an inspection by metric."""
    return {o.metric: o.samples[0] for o in outcome.observations if len(o.samples) == 1}


def _failure(status: Status, detail: str) -> dict[str, str]:
    """Returns the facts of a base that could not be measured."""
    return {"base_status": status.value, "base_detail": detail}


def _outputs(base: np.ndarray[Any, Any] | None, candidate: np.ndarray[Any, Any] | None) -> dict[str, Any]:
    """Returns the largest difference of two outputs over the largest number in them, and whose are not finite."""
    if base is None or candidate is None:
        return {}
    broken = [name for name, one in (("base", base), ("candidate", candidate)) if not np.isfinite(one).all()]
    if broken:
        return {"outputs_not_finite": broken}
    largest = float(np.max(np.abs(base), initial=0.0))
    if base.shape != candidate.shape or not largest:
        return {}
    return {"outputs_differ_by": float(np.max(np.abs(base - candidate))) / largest}

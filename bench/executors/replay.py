"""Returns recorded outcomes: exact figures for the tests of run, store, compare and report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from bench.executors.base import Executor, Probe
from bench.records import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.records import Ceiling, Task


class ReplayExecutor(Executor):
    """Gives back what was recorded for a case and repeat; a case without a record ends in an error."""

    def __init__(
        self, outcomes: Iterable[Outcome], *, probe: Probe | None = None, ceilings: Iterable[Ceiling] = ()
    ) -> None:
        self._outcomes = {(o.case_id, o.repeat): o for o in outcomes}
        self._probe = probe or Probe()
        self._ceilings = tuple(ceilings)
        self.seen: list[Task] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def probe(self, targets: Sequence[str]) -> Probe:
        """Returns the recorded probe, whatever the targets."""
        del targets
        return self._probe

    def run(self, task: Task) -> Outcome:
        """Returns the recorded outcome of the task's case and repeat."""
        self.seen.append(task)
        missing = Outcome(task.case.id, task.repeat, Status.ERROR, "nothing is recorded for this case and repeat")
        return replace(self._outcomes.get((task.case.id, task.repeat), missing))

    def calibrate(self, device: str, seconds: float) -> tuple[Ceiling, ...]:
        """Returns the recorded ceilings of the device, however long it should take."""
        del seconds
        return tuple(ceiling for ceiling in self._ceilings if ceiling.device == device)

"""Runs tasks in this very process: for debuggers and profilers, not for figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bench.executors.base import Executor, Probe, ceilings, outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records import Ceiling, Outcome, Task


class InlineExecutor(Executor):
    """No isolation: what one case leaves behind, the next one finds; a time limit is not enforced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def probe(self, targets: Sequence[str]) -> Probe:
        """Returns what this process' torch can do."""
        from bench.worker import facts  # noqa: PLC0415  (torch)

        found = facts.probe(targets)
        return Probe(tuple(found["devices"]), found["comparable"], tuple(found["problems"]), found["gpu"])

    def run(self, task: Task) -> Outcome:
        """Returns the outcome of one task, measured here."""
        from bench.worker import main  # noqa: PLC0415  (torch)

        return outcome(task, main.attempt(task, interruptible=True))

    def calibrate(self, device: str, seconds: float) -> tuple[Ceiling, ...]:
        """Returns what a device reaches at best, measured here."""
        from bench.worker import ceilings as worker  # noqa: PLC0415  (torch)

        return ceilings(worker.measure(device, seconds))

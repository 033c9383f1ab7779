"""The contract of an executor, and how a worker's written result becomes an outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from bench.records import Ceiling, Flag, Observation, Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Task


@dataclass(frozen=True)
class Probe:
    """What a worker says before anything is measured: devices, torch's facts, layers that cannot be reached."""

    devices: tuple[str, ...] = ("cpu",)
    comparable: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class Executor(Protocol):
    """Carries out tasks one at a time; everything that can go wrong in one is its outcome.

    `run` raises `WorkerError` only when no worker can be started at all, and lets KeyboardInterrupt through after the
    worker is gone.
    """

    def __enter__(self) -> Self:
        """Makes ready."""

    def __exit__(self, *exception: object) -> None:
        """Leaves no process and no file behind."""

    def probe(self, targets: Sequence[str]) -> Probe:
        """Returns what this machine's worker can do and which of the import targets it cannot reach."""

    def run(self, task: Task) -> Outcome:
        """Returns the outcome of one task."""

    def calibrate(self, device: str, seconds: float) -> tuple[Ceiling, ...]:
        """Returns what a device reaches at best; each figure takes about so many seconds.

        Raises:
            WorkerError: it could not be measured.
        """


def ceilings(result: Mapping[str, Any]) -> tuple[Ceiling, ...]:
    """Returns the ceilings that a worker's result describes."""
    return tuple(Ceiling(**{**found, "samples": tuple(found["samples"])}) for found in result["ceilings"])


def outcome(task: Task, result: Mapping[str, Any]) -> Outcome:
    """Returns the outcome that a worker's result describes."""
    return Outcome(
        case_id=task.case.id,
        repeat=task.repeat,
        status=Status(result["status"]),
        detail=result["detail"],
        flags=tuple(Flag(f["code"], f["detail"]) for f in result.get("flags", ())),
        observations=tuple(
            Observation(o["metric"], o["unit"], tuple(o["samples"])) for o in result.get("observations", ())
        ),
        facts=result.get("facts", {}),
        started=result["started"],
        finished=result["finished"],
    )
